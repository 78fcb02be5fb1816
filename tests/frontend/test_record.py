"""Records, names and lookup on disk, and the sweeping of what killed commands left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from remora import monitor
from remora.frontend import jsontext
from remora.frontend.container import logs, names, record, sweep
from remora.frontend.errors import NoSuchContainer, RemoraError
from remora.frontend.settings import Settings

if TYPE_CHECKING:
    from remora.frontend.container.spec import Spec

ONE = "a1" * 32
TWO = "a1b2" + "0" * 60
THREE = "c" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(str(tmp_path / "data"), str(tmp_path / "run"), environ={})


def make_spec(container_id: str, name: str) -> Spec:
    spec = {
        "version": 1,
        "id": container_id,
        "name": name,
        "created_ns": 1,
        "args": ["true"],
        "env": [],
        "labels": {},
        "mounts": [],
        "image": None,
        "log": logs.usual(),
        "restart": {"policy": "no", "max": 0},
        "stop_signal": 15,
        "stop_timeout": 10,
        "tty": False,
        "stdin_open": False,
        "remove": False,
        "network": "none",
        "detach_keys": "",
        "runtime": "",
    }
    return cast("Spec", spec)


def make(settings: Settings, container_id: str, name: str) -> record.ContainerRecord:
    made = record.ContainerRecord(settings, make_spec(container_id, name))
    os.makedirs(made.data_dir)
    names.claim(settings, name, container_id)
    made.save()
    return made


def test_a_record_is_found_by_name_id_and_the_beginning_of_an_id(settings: Settings) -> None:
    make(settings, ONE, "web")
    make(settings, THREE, "db")
    for given in ("web", ONE, ONE[:12], "a"):
        assert record.find(settings, given).id == ONE
    assert sorted(found.name for found in record.records(settings)) == ["db", "web"]


def test_a_name_goes_before_an_id_that_begins_so(settings: Settings) -> None:
    make(settings, ONE, "web")
    make(settings, THREE, "a1")
    assert record.find(settings, "a1").id == THREE


def test_an_ambiguous_beginning_is_refused(settings: Settings) -> None:
    make(settings, ONE, "web")
    make(settings, TWO, "db")
    with pytest.raises(RemoraError, match="more than one container") as caught:
        record.find(settings, "a1")
    assert "a1a1" in caught.value.hint
    assert "a1b2" in caught.value.hint


@pytest.mark.parametrize("given", ["nope", "f", "f" * 64, "../x", "..", "", "a/b", "x" * 300, "\0", "web\n"])
def test_what_is_not_there_is_named(settings: Settings, given: str) -> None:
    make(settings, ONE, "web")
    with pytest.raises(NoSuchContainer) as caught:
        record.find(settings, given)
    assert f'"{given}"' in caught.value.message


@pytest.mark.parametrize("name", ["a", "A9_.-", "0", "x" * 200])
def test_names_of_the_pattern_are_valid(name: str) -> None:
    names.check(name)


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "../x", "a/b", "a b", "ä", "x" * 201, "a\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(RemoraError, match="invalid container name") as caught:
        names.check(name)
    assert caught.value.status == 125


def test_a_name_that_is_taken_names_its_owner(settings: Settings) -> None:
    make(settings, ONE, "web")
    with pytest.raises(RemoraError) as caught:
        names.claim(settings, "web", THREE)
    assert f'the container name "web" is already in use by {ONE}' in caught.value.message
    assert "remora rm web" in caught.value.hint
    assert names.owner(settings, "web") == ONE


def test_a_name_of_a_half_made_container_is_freed_and_the_rest_of_it_removed(settings: Settings) -> None:
    half = make(settings, ONE, "web")
    os.unlink(half.spec_path)
    names.claim(settings, "web", THREE)
    assert names.owner(settings, "web") == THREE
    assert not os.path.exists(half.data_dir)
    assert not os.path.exists(half.run_dir)


def test_a_name_of_a_container_that_is_being_made_stays_taken(settings: Settings) -> None:
    half = make(settings, ONE, "web")
    os.unlink(half.spec_path)
    lock = monitor.lock(half.run_dir)
    try:
        with pytest.raises(RemoraError, match="already in use"):
            names.claim(settings, "web", THREE)
        assert os.path.exists(half.data_dir)
    finally:
        os.close(lock)


def test_a_name_that_leads_nowhere_is_freed(settings: Settings) -> None:
    os.makedirs(settings.names)
    os.symlink(f"../containers/{ONE}", f"{settings.names}/web")
    names.claim(settings, "web", THREE)
    assert names.owner(settings, "web") == THREE


def test_release_leaves_a_name_of_another_container_alone(settings: Settings) -> None:
    make(settings, ONE, "web")
    names.release(settings, "web", THREE)
    assert names.owner(settings, "web") == ONE
    names.release_all(settings, ONE)
    assert names.owner(settings, "web") is None
    names.release(settings, "web", ONE)


BROKEN = {
    "empty": b"",
    "no JSON": b"{",
    "binary": bytes(range(256)),
    "not an object": b"[1, 2]",
    "another version": json.dumps({**make_spec(ONE, "web"), "version": 9}).encode(),
    "another id": json.dumps(make_spec(THREE, "web")).encode(),
    "a key less": json.dumps({key: value for key, value in make_spec(ONE, "web").items() if key != "args"}).encode(),
    "a wrong type": json.dumps({**make_spec(ONE, "web"), "labels": []}).encode(),
    "nested without end": b"[" * 100_000,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_corrupt_record_is_named_with_the_remedy_and_the_others_are_listed(settings: Settings, what: str) -> None:
    broken = make(settings, ONE, "web")
    make(settings, THREE, "db")
    Path(broken.spec_path).write_bytes(BROKEN[what])
    with pytest.raises(record.CorruptRecord) as caught:
        record.find(settings, "web")
    assert broken.spec_path in caught.value.message
    assert f"remora rm -f {ONE[:12]}" in caught.value.hint
    corrupt: list[record.CorruptRecord] = []
    assert [found.id for found in record.records(settings, corrupt)] == [THREE]
    assert [error.container_id for error in corrupt] == [ONE]


def test_saving_replaces_the_record_as_a_whole(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(settings, ONE, "web")
    before = Path(made.spec_path).read_bytes()
    made.spec["name"] = "other"

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            made.save()
    assert Path(made.spec_path).read_bytes() == before
    assert os.listdir(made.data_dir) == ["spec.json"]
    made.save()
    assert record.load(settings, ONE).name == "other"


def test_sweep_removes_what_has_no_record_and_nothing_else(settings: Settings) -> None:
    whole = make(settings, ONE, "web")
    half = make(settings, TWO, "db")
    os.unlink(half.spec_path)
    Path(half.data_dir, "upper").mkdir()
    os.makedirs(settings.run_dir(THREE))
    sweep.sweep(settings)
    assert os.listdir(settings.containers) == [ONE]
    assert os.listdir(settings.names) == ["web"]
    assert not os.path.exists(settings.run_dir(THREE))
    assert record.find(settings, "web").id == whole.id


def test_sweep_leaves_what_somebody_is_at_work_on(settings: Settings) -> None:
    half = make(settings, ONE, "web")
    os.unlink(half.spec_path)
    lock = monitor.lock(half.run_dir)
    try:
        sweep.sweep(settings)
        assert os.path.isdir(half.data_dir)
    finally:
        os.close(lock)
    assert sweep.sweep_if_stale(settings, ONE)
    assert not os.path.exists(half.data_dir)


def test_sweep_never_leaves_the_folders_of_containers(settings: Settings, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    os.makedirs(settings.names)
    os.symlink(str(outside), f"{settings.names}/web")
    os.symlink("../../precious", f"{settings.names}/db")
    sweep.sweep(settings)
    assert outside.is_dir()


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -5,
        1.5,
        "text",
        '\u00e9\U0001f600\udc80\n"\\',
        [],
        {},
        [1, [2, {"a": None}]],
        {"b": {"c": [True]}},
    ],
)
def test_json_goes_round(value: object) -> None:
    text = jsontext.dumps(value)
    assert jsontext.loads(text) == value
    assert json.loads(text) == value
    assert jsontext.loads(f" \n{json.dumps(value, indent=2)}\t".encode()) == value


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", "{} x", "nul", "NaN", '"\x01"', b"\xff", "{1: 2}", "'a'"])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsontext.loads(text)


def test_json_is_refused_just_so_where_the_package_json_was_never_imported() -> None:
    code = (
        "import sys; from remora.frontend import jsontext; assert 'json' not in sys.modules\n"
        "for text in sys.argv[1:]:\n"
        "    try: jsontext.loads(text)\n"
        "    except ValueError: print('refused')\n"
    )
    texts = ["", "{", "[1,]", '"\x01"', '{"a" 1}', '{"a"', "[", '"x', '"\\q"']
    result = subprocess.run(
        [sys.executable, "-c", code, *texts], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout == "refused\n" * len(texts), result.stderr


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"x"])
def test_what_json_has_no_form_of_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        jsontext.dumps(value)
