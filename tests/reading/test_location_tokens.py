"""Location tokens of PaliGemma and Kosmos-2 as boxes."""

from vlmrl.reading.boxes import Box, parse_boxes
from vlmrl.reading.location_tokens import spell_out


def test_location_tokens_state_their_own_grid() -> None:
    text = spell_out(
        "<loc0512><loc0000><loc0768><loc0256> cat ; <loc0000><loc0512><loc0512><loc1023> big dog", (1000, 500)
    )
    assert parse_boxes(text) == [
        Box((0.0, 250.0, 250.0, 375.0), "cat"),
        Box((500.0, 0.0, 999.0234375, 250.0), "big dog"),
    ]
    kosmos = "<phrase>a snowman</phrase><object><patch_index_0044><patch_index_0863></object>"
    # Patch 44 is row 1, column 12; patch 863 row 26, column 31: the middles of both, of 32.
    assert parse_boxes(spell_out(kosmos, (32, 32))) == [Box((12.5, 1.5, 31.5, 26.5), "a snowman")]
    one_row = "<object><patch_index_0000><patch_index_0003></object>"
    assert parse_boxes(spell_out(one_row, (32, 32))) == [Box((0.0, 0.0, 4.0, 1.0))]
    assert spell_out(kosmos, None) == kosmos
