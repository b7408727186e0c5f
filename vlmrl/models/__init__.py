"""The model: policy, formatter, packed rows, logprobs, vision cache.

A name that ends in capitals states the shape of its array, one letter for each axis: `logprob_L` is [L], and
`hidden_B1H` is [B, 1, H]. Digits are sizes. The whole library uses these letters. Where a letter has several meanings,
a module uses only one of them.

    B   rows of a batch
    G   responses of a group; true regions of an image
    T   tokens of a packed row; IoU thresholds
    L   scored response tokens of a packed row
    P   tokens of a prompt; predicted regions of an image; prompts in the order in which they are drawn
    N   prompts; patches of a vision pass; pilots of a mixture; the first of two sets
    M   sources of a mixture; merged patches; members of a source; the second of two sets
    V   vocabulary
    H   hidden size
    D   size of an attention head; detections
    Q   blocks of queries
    K   blocks of keys
    C   values of a patch
    F   features of a regression
    S   held-out sources
    R   runs; recalls
"""
