"""`--log-driver` and `--log-opt`: what they become in the request, what a monitor is told, and what is refused."""

from __future__ import annotations

import copy

import pytest

from remora.frontend.container import logs
from remora.frontend.container.configuration import configuration
from remora.frontend.container.record import ContainerRecord
from remora.frontend.errors import RemoraError
from remora.frontend.settings import Settings
from tests.frontend.test_options_request import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Log


def log(*words: str) -> Log:
    return resolve(*words, "x")["log"]


def told(*words: str) -> dict[str, object]:
    """The `log` map in the configuration of a monitor."""
    settings = Settings("/d", "/r", runtime="/bin/true", environ={})
    made = configuration(settings, ContainerRecord(settings, resolve(*words, "x")), 0, 0, None, 0, 0, 0)["log"]
    assert isinstance(made, dict)
    return made


def test_without_options_the_log_is_one_file_without_limit_that_blocks() -> None:
    assert log() == logs.usual()
    assert log()["drivers"] == [{"driver": "k8s-file", "path": "", "max_size": 0, "max_files": 1}]
    assert log()["stdout"] == log()["stderr"] == {"policy": "block", "rate": 0}


def test_several_drivers_share_the_options_that_each_has() -> None:
    made = log(
        *("--log-driver", "k8s-file", "--log-driver=json-file", "--log-driver", "journald"),
        *("--log-opt", "max-size=10m,max-file=3", "--log-opt", "tag=mine"),
    )
    sizes = [(sink["driver"], sink["max_size"], sink["max_files"]) for sink in made["drivers"]]
    assert sizes == [("k8s-file", 10 << 20, 3), ("json-file", 10 << 20, 3), ("journald", 0, 1)]
    assert made["tag"] == "mine"


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("1b", 1), ("2k", 2048), ("3M", 3 << 20), ("1.5g", 3 << 29), ("-1", 0)]
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert log("--log-opt", f"max-size={text}")["drivers"][0]["max_size"] == size


def test_two_files_get_a_path_each() -> None:
    made = log(
        *("--log-driver", "k8s-file", "--log-driver", "json-file"),
        *("--log-opt", "path=json-file:/var/log/a.json", "--log-opt", "path=k8s-file:/var/log/a"),
    )
    assert [sink["path"] for sink in made["drivers"]] == ["/var/log/a", "/var/log/a.json"]


def test_policies_are_for_both_streams_or_for_one() -> None:
    assert log("--log-opt", "mode=drop")["stderr"] == {"policy": "drop", "rate": 0}
    made = log("--log-opt", "mode=non-blocking", "--log-opt", "stderr-mode=blocking")
    assert (made["stdout"]["policy"], made["stderr"]["policy"]) == ("drop", "block")
    made = log("--log-opt", "rate=1m", "--log-opt", "stderr-mode=drop")
    assert (made["stdout"], made["stderr"]) == ({"policy": "rate", "rate": 1 << 20}, {"policy": "drop", "rate": 0})


def test_commas_in_a_value_stay() -> None:
    made = log("--log-driver", "journald", "--log-opt", "labels=a,b=1,c", "--log-opt", "tag=x,mode=drop")
    assert (made["labels"], made["tag"], made["stdout"]["policy"]) == (["a", "b=1", "c"], "x", "drop")
    assert log("--log-opt", "path=/var/log/a,b")["drivers"][0]["path"] == "/var/log/a,b"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--log-driver", "journal"), "did you mean journald"),
        (("--log-opt", "max-sise=1m"), "did you mean max-size"),
        (("--log-opt", "colour=red"), 'unknown option "colour" for --log-opt'),
        (("--log-opt", "mode=bloc"), "did you mean block"),
        (("--log-opt", "stderr-mode=never"), '"never" for --log-opt stderr-mode'),
        (("--log-opt", "max-size=big"), 'invalid size "big"'),
        (("--log-opt", "max-size"), "max-size needs a value"),
        (("--log-opt", "max-size=1m", "--log-opt", "max-file=0"), "too small"),
        (("--log-opt", "max-file=3"), "add --log-opt max-size"),
        (("--log-opt", "mode=rate"), "add --log-opt rate=SIZE"),
        (("--log-opt", "rate=0"), "lets nothing through"),
        (("--log-opt", "rate=1m", "--log-opt", "mode=drop"), "no stream has the mode rate"),
        (("--log-opt", "tag=mine"), "is nothing for the log driver"),
        (("--log-driver", "journald", "--log-opt", "max-size=1m"), "add --log-driver k8s-file"),
        (("--log-driver", "none", "--log-opt", "mode=drop"), "is nothing for the log driver"),
        (("--log-driver", "journald", "--log-opt", "tag={{.Nam}}"), "fields: ID, FullID, Name"),
        (("--log-driver", "journald", "--log-opt", "tag={{.Name"), "tag="),
        (("--log-driver", "journald", "--log-opt", "labels==x"), "a label without a name"),
        (("--log-driver", "none", "--log-driver", "journald"), "exclude each other"),
        (("--log-driver", "journald", "--log-driver", "journald"), "given twice"),
        (("--log-driver", "passthrough", "-t"), "exclude each other"),
        (("--log-driver", "passthrough", "-a", "stdout"), "exclude each other"),
        (("--log-driver", "k8s-file", "--log-driver", "json-file", "--log-opt", "path=/x"), "use path=k8s-file:/x"),
        (("--log-opt", "path=json-file:/x"), "is nothing for the log driver k8s-file"),
        (
            ("--log-driver=k8s-file", "--log-driver=json-file", "--log-opt", "path=k8s-file:/x,path=json-file:/x"),
            "can't write the same file",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line_with_a_remedy(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(RemoraError) as raised:
        log(*words)
    assert expected in str(raised.value) and "\n" not in str(raised.value)
    assert raised.value.hint and raised.value.status == 125


def test_the_monitor_is_told_paths_tag_and_labels_in_effect() -> None:
    made = told(
        *("--name", "web", "-l", "tier=front", "--log-driver", "json-file", "--log-driver", "journald"),
        *("--log-opt", "labels=tier,absent,b,site=here", "--log-opt", "tag={{.Name}}/{{.ImageName}}"),
    )
    drivers = made["drivers"]
    assert isinstance(drivers, list)
    container_id = drivers[0]["path"].split("/")[3]
    assert drivers[0]["path"] == f"/d/containers/{container_id}/{container_id}-json.log"
    assert (drivers[1]["driver"], drivers[1]["path"]) == ("journald", "")
    assert made["labels"] == ["tier=front", "b=2", "site=here"]  # b is the image's label
    assert made["tag"] == "web/localhost/x:latest"


def test_a_record_of_the_first_version_is_read() -> None:
    made = logs.modern({"driver": "k8s-file", "path": "/p", "max_size": 7})
    assert made is not None and made["drivers"] == [{"driver": "k8s-file", "path": "/p", "max_size": 7, "max_files": 1}]
    assert {**made, "drivers": []} == {**logs.usual(), "drivers": []}


def test_a_record_is_read_as_it_was_written() -> None:
    made = log("--log-driver", "json-file", "--log-opt", "max-size=1m,max-file=4,labels=a,rate=9k")
    assert logs.modern(copy.deepcopy(made)) == made


@pytest.mark.parametrize("damaged", [None, [], "k8s-file", {"driver": "paper"}, {"drivers": []}, {"drivers": [7]}])
def test_a_damaged_log_object_is_usable_or_refused(damaged: object) -> None:
    made = logs.modern(damaged)
    assert made is None or [sink["driver"] for sink in made["drivers"]] == ["k8s-file"]


COUNTERS = {
    "stdout": {"written": 10, "dropped": 1},
    "stderr": {"written": 5, "dropped": 0},
    "drivers": [{"driver": "k8s-file", "path": "/p", "written": 15, "dropped": 1, "gaps": 1, "failed_rotations": 2}],
}


def test_statistics_have_the_same_keys_whatever_was_told() -> None:
    made = logs.statistics(COUNTERS)
    assert (made["Written"], made["Dropped"], made["Stderr"]) == (15, 1, {"Written": 5, "Dropped": 0})
    drivers = made["Drivers"]
    assert isinstance(drivers, list)
    assert drivers == [
        {
            "Driver": "k8s-file",
            "Path": "/p",
            "Error": "",
            "Written": 15,
            "Dropped": 1,
            "Gaps": 1,
            "Size": 0,
            "Rotations": 0,
            "FailedRotations": 2,
        }
    ]
    wrong: list[object] = [None, {}, [], {"stdout": 7, "drivers": {}}, {"stdout": {"written": "x"}, "drivers": [1]}]
    for damaged in wrong:
        assert logs.statistics(damaged).keys() == made.keys()
        assert logs.statistics(damaged)["Written"] == 0
