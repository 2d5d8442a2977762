"""The walls of the library: imports point down only, and data stays behind the training loop."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "dpgan_lib"

# From the top down: a module imports modules of later rows alone.
ROOMS = [
    {"cli"}, {"publish"}, {"coursework"}, {"chapters", "pages"}, {"playground"}, {"generator_scripts"},
    {"catalogue", "claims", "own_claims", "release"}, {"verdicts"}, {"audit_study", "information", "private_step", "wasserstein_study"},
    {"face_tables", "imbalance_tables", "tradeoff_tables"}, {"face_study", "imbalance"}, {"face_metrics", "tradeoff"},
    {"experiment", "figures_audit", "figures_faces", "figures_information", "figures_wasserstein"}, {"figures", "reproduce", "verify"},
    {"verify_metrics"}, {"checks", "cost"}, {"report"}, {"sweep"}, {"bands", "means", "studies"}, {"results"}, {"utility"},
    {"bench", "canaries", "codes", "fidelity", "memorisation", "probe", "stability"}, {"provenance"},
    {"evaluation", "linear_critic"}, {"specificity"}, {"remote"}, {"runs"}, {"face_start", "opening", "prototype_start"},
    {"face_generator", "toy", "training"}, {"deforming", "warm_start"}, {"face_model", "prototypes"},
    {"state", "steps", "wasserstein"}, {"mechanism", "networks", "bench_ways", "embedding"},
    {"clipping", "features", "latent"}, {"drawn_faces"}, {"celeba"}, {"data", "face_cards"}, {"audit", "cards", "stand_ins"},
    {"group_privacy"}, {"accounting", "budget", "channels", "deformations", "streams", "profiles"},
    {"configs"}, {"face_config"}, {"warm_config"}, {"config"},
]


def imports(module: str) -> set[str]:
    """What a module imports of the library, lazily too."""
    found = set()
    for node in ast.walk(ast.parse((LIBRARY / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dpgan_lib"):
            _, _, below = node.module.partition(".")
            found |= {below} if below else {name.name for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name.partition(".")[2] for name in node.names if name.name.startswith("dpgan_lib.")}
    return found


def packages(module: str) -> set[str]:
    nodes = ast.walk(ast.parse((LIBRARY / f"{module}.py").read_text()))
    return {name.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names} | {
        node.module.partition(".")[0] for node in ast.walk(ast.parse((LIBRARY / f"{module}.py").read_text()))
        if isinstance(node, ast.ImportFrom) and node.module}


def test_every_module_has_a_room():
    assert set().union(*ROOMS) == {path.stem for path in LIBRARY.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("row", range(len(ROOMS)))
def test_imports_point_down(row):
    below = set().union(*ROOMS[row + 1 :], set())
    for module in ROOMS[row]:
        assert imports(module) <= below, module


def test_the_training_loop_cannot_reach_data_results_or_evaluation():
    reached, todo = set(), {"training"}
    while todo:
        module = todo.pop()
        reached.add(module)
        todo |= imports(module) - reached
    assert reached == {"training", "state", "steps", "mechanism", "clipping", "networks", "latent", "streams", "budget",
                       "config"}


def test_the_mechanism_knows_no_gan_and_the_accountant_no_torch():
    assert imports("mechanism") == {"clipping"} and imports("clipping") == set() and imports("accounting") == set()
    assert "torch" not in packages("accounting") | packages("results") | packages("warm_config") | packages("provenance") | packages("data")


def test_the_warm_start_reads_public_features_that_read_nothing():
    assert imports("embedding") == {"features"} and imports("features") == set()
    assert packages("features") == {"math", "numpy", "torch"}
