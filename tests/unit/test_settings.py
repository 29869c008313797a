"""Settings: defaults, then the file, then the environment, then flags; a wrong one is named."""

from pathlib import Path

import pytest

from curation.base import settings


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


def test_a_file_in_a_workspace_cannot_open_the_gate_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "curate.toml").write_text("[source]\noutside = true\n")
    with pytest.raises(settings.SettingsError, match="give --follow-links"):
        settings.load(tmp_path / "curate.toml")
    (tmp_path / "curate.toml").write_text("[source]\nmerge_labels = true\n")
    found = settings.load(tmp_path / "curate.toml", {"source": {"outside": True}}).source
    assert found.outside and found.merge_labels
