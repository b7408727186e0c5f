"""What the layers of a model allow."""

from vlmrl.models.attention.sharing import sharing


class Layers:
    def __init__(self, *kinds: str, window: int | None = None) -> None:
        self.layer_types, self.sliding_window = kinds, window


def test_which_layers_share_a_prompt() -> None:
    assert sharing(Layers("full_attention")) == "tree"
    assert sharing(Layers("full_attention", "sliding_attention")) == "tree"
    assert sharing(Layers("full_attention", "sliding_attention", window=99)) == "none"
    assert sharing(Layers("linear_attention", "full_attention")) == "none"
    assert sharing(Layers("linear_attention", "full_attention"), ("linear_attention",)) == "fork"
    assert sharing(Layers("full_attention"), ("linear_attention",)) == "tree"
