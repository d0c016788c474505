"""Triton kernels of window attention, launched by `window_kernel`. Importing this module requires Triton.

Arguments of all kernels, where not said otherwise:
    qkv, grad_qkv: (B, L, 3 * heads * D).
    table: (heads, side * side), float32.
    index, segment_ids: (windows, n).
    coords: (1 or B, windows, n, 2).
    out, grad_out: (B, L, heads * D).
    lse: Logarithm to base 2 of the sum of the weights, (B, windows, heads, n).
    delta: Sum over channels of out * grad_out, (B, windows, heads, n).
    SHARED: Whether `coords` are the same for all images.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
SIZES = ["B", "L", "windows", "heads", "n", "side", "images"]
"""Arguments that do not cause a compilation for every stage of a network."""

STEPS = tl.constexpr(4)
"""Queries of a block that share a copy of the gradient of the table: fewer take more memory and less time."""


@triton.jit
def _program(n, heads, SIZE: tl.constexpr):
    """Return the slots of the block of this program, its head and its window."""
    program = tl.program_id(0)
    blocks = tl.cdiv(n, SIZE)
    return program % blocks * SIZE + tl.arange(0, SIZE), program // blocks % heads, program // blocks // heads


@triton.jit
def _slots(index, segment_ids, window, slots, n):
    """Return tokens (-1 where padded) and segment IDs of slots of a window."""
    tokens = tl.load(index + window * n + slots, mask=slots < n, other=-1)
    return tokens, tl.load(segment_ids + window * n + slots, mask=slots < n, other=0)


@triton.jit
def _places(coords, window, slots, n, side):
    """Return y * side + x of slots.

    The row of a pair in the table is its query's minus its key's, plus the middle row.
    """
    y = tl.load(coords + (window * n + slots) * 2, mask=slots < n, other=0)
    x = tl.load(coords + (window * n + slots) * 2 + 1, mask=slots < n, other=0)
    return y * side + x


@triton.jit
def _pairs(index, segment_ids, coords, window, keys, queries, n, side):
    """Return which pairs (keys, queries) of slots attend, and their rows of the table."""
    key_tokens, key_ids = _slots(index, segment_ids, window, keys, n)
    query_tokens, query_ids = _slots(index, segment_ids, window, queries, n)
    allowed = (
        (key_ids[:, None] == query_ids[None, :]) & (key_tokens[:, None] >= 0) & (query_tokens[None, :] >= 0)
    )
    places = _places(coords, window, queries, n, side) + side * side // 2
    return allowed, places[None, :] - _places(coords, window, keys, n, side)[:, None]


@triton.jit
def _bias(table, head, table_rows, allowed, side):
    """Return biases for base 2, and -inf for pairs that do not attend."""
    return tl.load(table + head * side * side + table_rows, mask=allowed, other=float("-inf")) * LOG2_E


@triton.jit
def _places_of(tokens, width, D: tl.constexpr):
    """Return offsets of one head of tokens of (L, width), and which are not padded.

    Channels are padded to a power of two of at least 16, as matrix units need it.
    """
    CHANNELS: tl.constexpr = 16 if D <= 16 else 32 if D <= 32 else 64
    channels = tl.arange(0, CHANNELS)[None, :]
    own = tokens[:, None] >= 0
    if D < CHANNELS:
        own = own & (channels < D)
    return tokens[:, None] * width + channels, own


@triton.jit
def _load(base, tokens, width, D: tl.constexpr):
    """Load one head of tokens of (L, width), zero where padded."""
    offsets, own = _places_of(tokens, width, D)
    return tl.load(base + offsets, mask=own, other=0.0)


@triton.jit
def _store(base, tokens, width, values, D: tl.constexpr):
    """Store one head of tokens of (L, width), except where padded."""
    offsets, own = _places_of(tokens, width, D)
    tl.store(base + offsets, values.to(base.dtype.element_ty), mask=own)


@triton.jit
def _add_to_copies(copies, table_rows, grads, allowed, table_size, QUERIES: tl.constexpr):
    """Add gradients of biases (keys, QUERIES) to copies of the table that no other program writes.

    The keys of one query have different rows of the table. The queries of one step have different copies.
    """
    queries = tl.arange(0, QUERIES)[None, :]
    places = copies + (queries // STEPS) * table_size + table_rows
    for step in range(STEPS):
        now = allowed & (queries % STEPS == step)
        tl.store(places, tl.load(places, mask=now, other=0.0) + grads, mask=now)
        tl.debug_barrier()


@triton.jit(do_not_specialize=SIZES)
def attend(
    qkv,
    table,
    index,
    segment_ids,
    coords,
    out,
    lse,
    B,
    L,
    windows,
    heads,
    n,
    side,
    scale,
    images,  # per chunk
    D: tl.constexpr,
    SHARED: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,  # >= n
    PRECISION: tl.constexpr,
):
    """Compute the outputs of a block of queries, for a chunk of images in turn.

    Logits are transposed (KEYS, QUERIES), because Triton divides rows only among warps if one product follows
    another: with all keys in rows, the biases fit in the registers, and are looked up once for all images.
    """
    cols, head, window = _program(n, heads, QUERIES)
    rows = tl.arange(0, KEYS)
    queries, _ = _slots(index, segment_ids, window, cols, n)
    keys, _ = _slots(index, segment_ids, window, rows, n)
    width = heads * D
    if SHARED:
        allowed, table_rows = _pairs(index, segment_ids, coords, window, rows, cols, n, side)
        bias = _bias(table, head, table_rows, allowed, side)

    first = tl.program_id(1) * images
    for step in range(tl.minimum(images, B - first)):
        image = first.to(tl.int64) + step
        tokens = qkv + image * L * 3 * width + head * D
        query = _load(tokens, queries, 3 * width, D)
        key = _load(tokens + width, keys, 3 * width, D)
        value = _load(tokens + 2 * width, keys, 3 * width, D)
        if not SHARED:
            own = coords + image * windows * n * 2
            allowed, table_rows = _pairs(index, segment_ids, own, window, rows, cols, n, side)
            bias = _bias(table, head, table_rows, allowed, side)
        logits = tl.dot(key, tl.trans(query), input_precision=PRECISION) * (scale * LOG2_E) + bias
        highest = tl.maximum(tl.max(logits, 0), -1e30)  # finite, so that padding slots are not NaN
        weights = tl.exp2(logits - highest[None, :])
        total = tl.maximum(tl.sum(weights, 0), 1.0)  # at least 1, from the highest logit, but 0 in padding
        output = tl.dot(tl.trans(weights.to(value.dtype)), value, input_precision=PRECISION)
        _store(out + image * L * width + head * D, queries, width, output / total[:, None], D)
        place = ((image * windows + window) * heads + head) * n
        tl.store(lse + place + cols, highest + tl.log2(total), mask=queries >= 0)


@triton.jit(do_not_specialize=SIZES)
def backward_queries(
    qkv,
    table,
    index,
    segment_ids,
    coords,
    out,
    lse,
    grad_out,
    delta,  # written unless WHOLE
    grad_qkv,
    grad_table,  # (chunks, windows, heads, blocks, QUERIES / STEPS, side * side), float32, zero
    B,
    L,
    windows,
    heads,
    n,
    side,
    scale,
    images,  # per chunk
    D: tl.constexpr,
    SHARED: tl.constexpr,
    WHOLE: tl.constexpr,  # QUERIES >= n: the gradients of keys and values are computed too
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,  # >= n
    PRECISION: tl.constexpr,
):
    """Compute the gradients of a block of queries and of the table, for a chunk of images in turn.

    Logits are transposed (KEYS, QUERIES), as in `attend`: the gradients of the biases are in registers, too.
    """
    cols, head, window = _program(n, heads, QUERIES)
    rows = tl.arange(0, KEYS)
    queries, _ = _slots(index, segment_ids, window, cols, n)
    keys, _ = _slots(index, segment_ids, window, rows, n)
    number = tl.program_id(1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
    copies = grad_table + number * (QUERIES // STEPS) * side * side
    width = heads * D
    if SHARED:
        allowed, table_rows = _pairs(index, segment_ids, coords, window, rows, cols, n, side)
        bias = _bias(table, head, table_rows, allowed, side)
        grad_bias = tl.zeros([KEYS, QUERIES], tl.float32)

    first = tl.program_id(1) * images
    for step in range(tl.minimum(images, B - first)):
        image = first.to(tl.int64) + step
        tokens = qkv + image * L * 3 * width + head * D
        query = _load(tokens, queries, 3 * width, D)
        key = _load(tokens + width, keys, 3 * width, D)
        value = _load(tokens + 2 * width, keys, 3 * width, D)
        grad = _load(grad_out + image * L * width + head * D, queries, width, D)
        output = _load(out + image * L * width + head * D, queries, width, D)
        place = ((image * windows + window) * heads + head) * n
        col_lse = tl.load(lse + place + cols, mask=queries >= 0, other=0.0)
        col_delta = tl.sum(output.to(tl.float32) * grad.to(tl.float32), 1)
        if not SHARED:
            own = coords + image * windows * n * 2
            allowed, table_rows = _pairs(index, segment_ids, own, window, rows, cols, n, side)
            bias = _bias(table, head, table_rows, allowed, side)
        logits = tl.dot(key, tl.trans(query), input_precision=PRECISION) * (scale * LOG2_E) + bias
        weights = tl.exp2(logits - col_lse[None, :])
        grads = tl.dot(value, tl.trans(grad), input_precision=PRECISION)
        grads = weights * (grads - col_delta[None, :])
        if SHARED:
            grad_bias += grads
        else:
            _add_to_copies(copies, table_rows, grads, allowed, side * side, QUERIES)
        rounded = grads.to(key.dtype)
        to = grad_qkv + image * L * 3 * width + head * D
        of_query = tl.dot(tl.trans(rounded), key, input_precision=PRECISION)
        _store(to, queries, 3 * width, of_query * scale, D)
        if WHOLE:
            of_key = tl.dot(rounded, query, input_precision=PRECISION)
            of_value = tl.dot(weights.to(grad.dtype), grad, input_precision=PRECISION)
            _store(to + width, keys, 3 * width, of_key * scale, D)
            _store(to + 2 * width, keys, 3 * width, of_value, D)
        else:
            tl.store(delta + place + cols, col_delta, mask=queries >= 0)
    if SHARED:  # computed again, as they would occupy registers in the loop
        allowed, table_rows = _pairs(index, segment_ids, coords, window, rows, cols, n, side)
        _add_to_copies(copies, table_rows, grad_bias, allowed, side * side, QUERIES)


@triton.jit(do_not_specialize=SIZES)
def backward_keys(
    qkv,
    table,
    index,
    segment_ids,
    coords,
    lse,
    grad_out,
    delta,
    grad_qkv,
    B,
    L,
    windows,
    heads,
    n,
    side,
    scale,
    images,  # per chunk
    D: tl.constexpr,
    SHARED: tl.constexpr,
    QUERIES: tl.constexpr,  # >= n
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute the gradients of a block of keys and values, for a chunk of images in turn.

    Logits are (QUERIES, KEYS), with all queries in rows; see `attend`.
    """
    cols, head, window = _program(n, heads, KEYS)
    rows = tl.arange(0, QUERIES)
    queries, _ = _slots(index, segment_ids, window, rows, n)
    keys, _ = _slots(index, segment_ids, window, cols, n)
    width = heads * D
    if SHARED:
        allowed, table_rows = _pairs(index, segment_ids, coords, window, cols, rows, n, side)
        bias = tl.trans(_bias(table, head, table_rows, allowed, side))

    first = tl.program_id(1) * images
    for step in range(tl.minimum(images, B - first)):
        image = first.to(tl.int64) + step
        tokens = qkv + image * L * 3 * width + head * D
        query = _load(tokens, queries, 3 * width, D)
        key = _load(tokens + width, keys, 3 * width, D)
        value = _load(tokens + 2 * width, keys, 3 * width, D)
        grad = _load(grad_out + image * L * width + head * D, queries, width, D)
        place = ((image * windows + window) * heads + head) * n
        row_lse = tl.load(lse + place + rows, mask=queries >= 0, other=0.0)
        row_delta = tl.load(delta + place + rows, mask=queries >= 0, other=0.0)
        if not SHARED:
            own = coords + image * windows * n * 2
            allowed, table_rows = _pairs(index, segment_ids, own, window, cols, rows, n, side)
            bias = tl.trans(_bias(table, head, table_rows, allowed, side))
        logits = tl.dot(query, tl.trans(key), input_precision=PRECISION) * (scale * LOG2_E) + bias
        weights = tl.exp2(logits - row_lse[:, None])
        of_value = tl.dot(tl.trans(weights.to(grad.dtype)), grad, input_precision=PRECISION)
        grads = tl.dot(grad, tl.trans(value), input_precision=PRECISION)
        grads = weights * (grads - row_delta[:, None])
        of_key = tl.dot(tl.trans(grads.to(query.dtype)), query, input_precision=PRECISION)
        to = grad_qkv + image * L * 3 * width + head * D
        _store(to + width, keys, 3 * width, of_key * scale, D)
        _store(to + 2 * width, keys, 3 * width, of_value, D)
