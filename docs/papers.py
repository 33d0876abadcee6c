"""docs/derivations, by ``make derivations``: the derivations on paper, as pages, LaTeX and Markdown."""

from pathlib import Path

from micrograd_bn import derivations, derive

FOLDER = Path(__file__).parent / "derivations"
NAMES = "batch_norm", "layer_norm", "rms_norm", "softmax_cross_entropy"
ENDINGS = ".html", ".tex", ".md"


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        paper = derive(getattr(derivations, name.upper()))
        for ending in ENDINGS:
            paper.save(folder / f"{name}{ending}")


if __name__ == "__main__":
    main()
