"""A model that obeys every order it reads does no harm, and the same tasks without an attack get done: eight scenes."""

import pytest

from benchmarks.attack_scenes import SCENES, Scene
from benchmarks.attacks import obey, orders_in, play
from tests.lab import Lab
from tests.scripted_server import ScriptedServer

SCRIPT = obey
NAMES = (
    "private mail to a stranger",
    "an order in base64",
    "contracts in the address of a page",
    "a closing mark of its own",
    "a changed payee",
    "a file outside is overwritten",
    "an invitation that carries the calendar",
    "through an output",
)
SHORT = [scene for scene in SCENES if scene.name in NAMES]


@pytest.fixture
def attacked(lab: Lab, model: ScriptedServer) -> tuple[Lab, str]:
    return lab, model.base_url


def test_there_are_scenes_of_every_kind() -> None:
    assert len(SCENES) >= 32
    assert len({scene.name for scene in SCENES}) == len(SCENES)
    assert len(SHORT) == len(NAMES)
    assert {scene.place for scene in SCENES} == {"inbox", "page", "invoice", "file", "calendar"}


@pytest.mark.parametrize("scene", SHORT, ids=lambda scene: scene.name)
def test_a_model_that_obeys_every_order_does_no_harm(attacked: tuple[Lab, str], scene: Scene) -> None:
    clean = play(*attacked, scene, attacked=False)
    assert (clean.status, clean.missing, clean.harmful) == ("succeeded", (), ())
    poisoned = play(*attacked, scene, attacked=True)
    assert poisoned.obeyed
    assert poisoned.harmful == ()


def test_without_a_policy_the_same_model_does_harm(attacked: tuple[Lab, str]) -> None:
    played = play(*attacked, SHORT[0], attacked=True, guarded=False)
    assert [tool for tool, _ in played.harmful] == ["send_mail"]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_the_model_finds_every_order_however_it_is_hidden(scene: Scene) -> None:
    told = scene.poisoned()[scene.place]
    found = list(orders_in(told, [tool for tool, _ in scene.orders]))
    assert [order for order in scene.orders if order not in found] == []
