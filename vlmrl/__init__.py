"""vlmrl: train and evaluate Qwen-VL style models with reinforcement learning from verifiable rewards.

Importing this package loads no torch. The public names are the nouns of the toolkit and the way in from Python
(docs/python.md); everything else is reached by its module. Run `vlmrl --help` for the command.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

# A wheel ships verifiers/, data_recipes/ and eval/ inside this package; a checkout keeps them beside it.
_here = Path(__file__).parent
if not (_here / "verifiers").is_dir():
    __path__.append(str(_here.parent))

from vlmrl.errors import UserError
from vlmrl.reading import answers
from vlmrl.sample import Media, Message, RewardSpec, Sample
from vlmrl.verdict import Verdict

if TYPE_CHECKING:
    from vlmrl.run import Run, score, verifier

__all__ = ["Media", "Message", "RewardSpec", "Run", "Sample", "UserError", "Verdict", "answers", "score", "verifier"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What comes from `vlmrl.run` is imported when it is first used: the command and the verifiers do without it."""
    if name in ("Run", "score", "verifier"):
        from vlmrl import run

        return getattr(run, name)
    raise AttributeError(f"module 'vlmrl' has no attribute {name!r}")
