"""Random container names: an adjective and a noun from short lists of our own, `brisk_heron`."""

from __future__ import annotations

import os

ADJECTIVES = (
    "agile amber ample apt azure bold brave breezy brief bright brisk calm candid clear clever coral cosy crisp "
    "curious deft eager early earnest easy even fair famous fancy fast fine fleet fond frank free fresh gentle "
    "giddy glad golden grand great green handy happy hardy hazel honest humble ideal jolly keen kind light lively "
    "loyal lucid lucky lunar magic mellow merry mild mighty modest neat nimble noble patient plain polite prime "
    "proud pure quick quiet rapid ready rosy royal rustic serene sharp shiny silent silver simple sleek smart "
    "smooth snug solar solid sound spry steady still stout sunny super sure swift tender tidy tranquil true "
    "upbeat vast vivid warm wise witty young zesty"
).split()

NOUNS = (
    "albatross anchor anchovy angelfish barnacle barque bass bay beacon bream breeze brig buoy canoe cape capelin "
    "carp catfish clam cliff clipper cod compass conch coral cove crab crest current cutter delta dinghy dogfish "
    "dolphin dory eel egret estuary ferry fjord flounder frigate galleon grouper gull gurnard haddock halibut "
    "harbour heron herring iceberg inlet island isle jetty keel kelp ketch krill lagoon lamprey lantern "
    "lighthouse limpet ling lobster lugger mackerel manatee manta marlin mast minnow mooring mullet mussel "
    "narwhal nautilus oar ocean octopus orca osprey otter oyster paddle pearl pelican penguin perch pier pike "
    "pilchard plaice plankton porpoise prawn puffin quay ray reef rudder sail salmon sandbar sardine schooner "
    "seal shark shoal shrimp skate sloop snapper sole sprat squid starfish strait sturgeon surf swan tarpon tern "
    "tide trawler trout tuna turbot turtle urchin walrus wave whale wharf whelk yawl"
).split()


def random_name() -> str:
    """A name such as `brisk_heron`; the caller claims it and asks again if it is taken."""
    number = int.from_bytes(os.urandom(8), "little")
    number, adjective = divmod(number, len(ADJECTIVES))
    return f"{ADJECTIVES[adjective]}_{NOUNS[number % len(NOUNS)]}"
