"""vlmrl: train and evaluate Qwen-VL style models with reinforcement learning from verifiable rewards.

Importing this package loads no torch. The public names are the nouns of the toolkit; everything else is
reached by its module. Run `vlmrl --help` for the command.
"""

from pathlib import Path

# A wheel ships verifiers/, data_recipes/ and eval/ inside this package; a checkout keeps them beside it.
_here = Path(__file__).parent
if not (_here / "verifiers").is_dir():
    __path__.append(str(_here.parent))

from vlmrl.errors import UserError
from vlmrl.sample import Media, Message, RewardSpec, Sample
from vlmrl.verdict import Verdict

__all__ = ["Media", "Message", "RewardSpec", "Sample", "UserError", "Verdict"]
__version__ = "0.1.0"
