"""`vlmrl check`: its exit codes. tests/rewards/audit has what it finds."""

from pathlib import Path

import pytest
from helpers.command import complains, run

from vlmrl import catalog
from vlmrl.rewards.audit import check


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 2)])
def test_the_exit_code_says_whether_contract_and_probes_hold(holds, code, capsys, monkeypatch) -> None:
    monkeypatch.setattr(check, "run", {"counting": holds}.__getitem__)
    assert run(capsys, "check", "counting").code == code


def test_what_is_not_a_verifier_is_refused(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "_ADDED", {})
    complains(run(capsys, "check", "countin"), "unknown verifier 'countin'; did you mean 'counting'?")
    complains(run(capsys, "check", tmp_path / "none.py"), "none.py")
    (tmp_path / "half.py").write_text("def (")
    complains(run(capsys, "check", tmp_path / "half.py"), "half.py: cannot be loaded (SyntaxError")
