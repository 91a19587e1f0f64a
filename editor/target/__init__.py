"""Stage 1: target values, and what makes them cheap.

    capture   one whole pass over prompts, and from it everything that their suffixes need to be computed alone
    products  matrix products in bfloat16, where the machine is made for them
    suffix    the layers above the edited one, recomputed on suffixes only
    target    stage 1: target values, the hidden states that make the model say the targets

May import: config, model, preserve.
"""
