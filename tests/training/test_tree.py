import torch
from torch.nn import functional

from datagen.training.attention import Dense, attend, fused_attention
from datagen.training.tree import BLOCK, build_tree


def random_texts(count, lengths, vocabulary, seed):
    """Texts that share beginnings now and then, among them some that are alike."""
    generator = torch.Generator().manual_seed(seed)

    def number(high):
        return int(torch.randint(high, (1,), generator=generator))

    texts = [[1]]
    for _ in range(count - 1):
        base = texts[number(len(texts))]
        kept = base[: 1 + number(len(base))]
        length = lengths[number(len(lengths))]
        texts.append([*kept, *(number(vocabulary) for _ in range(length))])
    return [[*text, vocabulary] for text in texts]


def test_every_text_is_a_path_of_the_tree_and_every_prefix_is_there_once():
    short, long = random_texts(60, (1, 3, 9), 7, 0), random_texts(5, (90, 130), 7, 1)
    tree, of_short, of_long = build_tree([*short, short[3]], long, 30)
    prefixes = [
        {tuple(text[:n]) for text in texts for n in range(1, 1 + len(text))}
        for texts in (short, long)
    ]
    assert len(tree.ids) == sum(map(len, prefixes)) > 2 * BLOCK
    assert of_short[3] == of_short[-1]
    ends = tree.ends[torch.cat([of_short, of_long + tree.short_ends])].tolist()
    moved = [0] * (len(short) + 1) + [30] * len(long)
    for text, end, more in zip([*short, short[3], *long], ends, moved, strict=True):
        assert int(tree.ids[end]) == text[-1]
        assert int(tree.positions[end]) == len(text) - 1 + more


def slow_causal(queries, keys, values, heads):
    """One text, attention written out."""
    width = queries.shape[1] // heads
    out = torch.zeros_like(queries)
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        for i in range(len(queries)):
            scores = keys[: i + 1, part] @ queries[i, part] / width**0.5
            out[i, part] = torch.softmax(scores, 0) @ values[: i + 1, part]
    return out


def paths(tree, texts):
    """Nodes of each text, found by walking through the tree."""
    found = {}
    stack: list[int] = []
    for node, depth in enumerate(tree.positions.tolist()):
        stack = [*stack[:depth], node]
        found[tuple(tree.ids[n].item() for n in stack)] = stack
    return [found[tuple(text)] for text in texts]


def test_attention_in_the_tree_is_causal_attention_in_each_text_and_so_is_its_gradient():
    texts = random_texts(40, (1, 5, 70), 5, 2)
    tree, *_ = build_tree(texts, [], 0)
    torch.manual_seed(0)
    rows = [torch.randn(len(tree.ids), 8).requires_grad_() for _ in range(3)]
    weight = torch.randn(len(tree.ids), 8)
    fast = attend(*rows, 2, tree.plan)
    slow = torch.zeros_like(fast)
    for nodes in paths(tree, texts):
        slow = slow.index_put((torch.tensor(nodes),), slow_causal(*(r[nodes] for r in rows), 2))
    torch.testing.assert_close(fast, slow)
    found = torch.autograd.grad((fast * weight).sum(), rows)
    for mine, theirs in zip(found, torch.autograd.grad((slow * weight).sum(), rows), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_the_last_layer_asks_only_at_the_ends():
    tree, *_ = build_tree(random_texts(40, (1, 5, 70), 5, 3), [], 0)
    torch.manual_seed(0)
    rows = [torch.randn(len(tree.ids), 8) for _ in range(3)]
    ends = attend(rows[0][tree.ends], rows[1], rows[2], 2, tree.last_plan)
    torch.testing.assert_close(ends, attend(*rows, 2, tree.plan)[tree.ends])


def test_the_fused_kernel_of_other_devices_gives_the_same():
    tree, *_ = build_tree(random_texts(40, (1, 5, 70), 5, 4), [], 0)
    torch.manual_seed(0)
    rows = [torch.randn(len(tree.ids), 8).requires_grad_() for _ in range(3)]
    weight = torch.randn(len(tree.ids), 8)
    both = [f(*rows, 2, tree.plan) for f in (attend, fused_attention)]
    torch.testing.assert_close(*both)
    grads = [torch.autograd.grad((out * weight).sum(), rows) for out in both]
    torch.testing.assert_close(*grads)


def test_dense_attention_is_that_of_each_sequence():
    torch.manual_seed(0)
    rows = [torch.randn(3 * 5, 8) for _ in range(3)]
    query, key, value = (r.view(3, 5, 2, 4).transpose(1, 2) for r in rows)
    slow = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    for kernel in (attend, fused_attention):
        torch.testing.assert_close(kernel(*rows, 2, Dense(3)), slow.reshape(15, 8))
        first = kernel(rows[0][::5], rows[1], rows[2], 2, Dense(3))
        torch.testing.assert_close(first, slow.reshape(15, 8)[::5])


def test_no_text_at_all_is_a_tree():
    tree, of_short, of_long = build_tree([], [], 30)
    assert len(tree.ids) == len(of_short) == len(of_long) == 0
