"""`vlmrl report`: what is refused. tests/monitor has the page."""

from helpers.command import complains, run


def test_what_is_not_a_run_is_refused(capsys, tmp_path) -> None:
    complains(run(capsys, "report", tmp_path), f"{tmp_path}: holds no run")
    complains(run(capsys, "report", tmp_path / "none"), "holds no run")
    long = "x" * 300  # no file system takes a name of this length, whoever asks
    complains(run(capsys, "report", long), f"{long}/config.toml: File name too long")


def test_it_names_the_page(capsys, tmp_path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "all/reward": 0.5}\n')
    done = run(capsys, "report", tmp_path)
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path}/report.html\n"
    assert (tmp_path / "report.html").stat().st_size > 0
