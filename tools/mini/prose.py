"""Filler prose, lists and code from word lists: correct English, little meaning, no end."""
import lexicon as L
from rand import plural, a, cap


def noun_phrase(r):
    n, k = r.w(L.NOUN), r.randint(0, 8)
    if k == 0:
        return f"the {n}"
    if k == 1:
        return f"the {r.w(L.ADJ)} {n}"
    if k == 2:
        return a(f"{r.w(L.ADJ)} {n}")
    if k == 3:
        return f"{r.choice(('two', 'three', 'four', 'several', 'many', 'some'))} {plural(n)}"
    if k == 4:
        return f"the {r.w(L.COLOR)} {n}"
    if k == 5:
        return f"{r.choice(('his', 'her', 'their', 'our', 'my'))} {n}"
    if k == 6:
        return f"the {n} of the {r.w(L.JOB)}"
    if k == 7:
        return f"the {r.w(L.ADJ)} {r.w(L.ANIMAL)}"
    return f"{r.w(L.FIRST)}'s {n}"


def subject(r):
    k = r.randint(0, 4)
    if k == 0:
        return r.w(L.FIRST)
    if k == 1:
        return f"the {r.w(L.JOB)}"
    if k == 2:
        return f"the {r.w(L.ADJ)} {r.w(L.JOB)}"
    if k == 3:
        return f"{r.w(L.FIRST)} {r.w(L.LAST)}"
    return f"{r.w(L.FIRST)} and {r.w(L.FIRST)}"


def clause(r):
    k = r.randint(0, 5)
    s = subject(r)
    if k <= 2:
        return f"{s} {r.w(L.VERB_OBJ)} {noun_phrase(r)}"
    if k == 3:
        return f"{s} {r.w(L.VERB)} {r.w(L.PLACE)}"
    if k == 4:
        return f"{s} {r.w(L.ADV)} {r.w(L.VERB_OBJ)} {noun_phrase(r)}"
    return f"{s} {r.w(L.VERB)} {r.w(L.ADV)}"


SHAPES = (
    lambda r: f"{clause(r)}",
    lambda r: f"{r.w(L.TIME)} {clause(r)}",
    lambda r: f"{clause(r)} {r.w(L.TIME)}",
    lambda r: f"{clause(r)}, and {clause(r)}",
    lambda r: f"{clause(r)}, but {clause(r)}",
    lambda r: f"{clause(r)} because {clause(r)}",
    lambda r: f"although {clause(r)}, {clause(r)}",
    lambda r: f"there was {a(r.w(L.ADJ) + ' ' + r.w(L.NOUN))} {r.w(L.PLACE)}",
    lambda r: f"nobody knew why {clause(r)}",
    lambda r: f"the {r.w(L.NOUN)} was {r.w(L.ADJ)} and {r.w(L.ADJ)}",
    lambda r: f"in {r.w(L.CITY)} {clause(r)}",
    lambda r: f"they ate {r.w(L.FOOD)} and {r.w(L.FOOD)} {r.w(L.PLACE)}",
    lambda r: f"when {clause(r)}, {clause(r)}",
    lambda r: f"the price of {r.w(L.FOOD)} rose to {r.randint(2, 99)} in {r.randint(1700, 2030)}",
    lambda r: f"{r.w(L.FIRST)} said that {clause(r)}",
    lambda r: f"every {r.w(L.JOB)} needs {a(r.w(L.NOUN))}",
    lambda r: f"it took {r.randint(2, 60)} days to reach {r.w(L.CITY)}",
    lambda r: f"{plural(r.w(L.ANIMAL))} and {plural(r.w(L.ANIMAL))} lived {r.w(L.PLACE)}",
)


def sentence(r):
    return cap(r.choice(SHAPES)(r)) + r.choice((".", ".", ".", ".", ".", ".", "!", "."))


def paragraph(r, lo=2, hi=7):
    return " ".join(sentence(r) for _ in range(r.randint(lo, hi)))


def markdown_list(r):
    mark = r.choice(("- {}", "* {}", "{i}. {}", "{i}) {}"))
    item = r.choice((r.word, r.short_phrase, lambda: sentence(r), r.ident, r.person))
    return "\n".join(mark.format(item(), i=i + 1) for i in range(r.randint(3, 7)))


def table(r):
    cols = [r.word() for _ in range(r.randint(2, 4))]
    sep = r.choice((" | ", ",", "\t", ";"))
    kinds = [r.choice((r.word, r.integer, r.number, r.ident, r.date)) for _ in cols]
    rows = [sep.join(str(k()) for k in kinds) for _ in range(r.randint(2, 6))]
    return "\n".join([sep.join(cols)] + rows)


def name(r):
    k = r.randint(0, 4)
    if k == 0:
        return r.made_up(1, 2)
    if k == 1:
        return r.choice("abcdefghijklmnpqstuvwxyz")
    if k == 2:
        return f"{r.word()}_{r.word()}"
    if k == 3:
        return r.made_up(1, 2) + r.made_up(1, 1).capitalize()
    return r.w(L.NOUN)


def expr(r, names, depth=0):
    k = r.randint(0, 6 if depth < 2 else 2)
    if k <= 1:
        return r.choice(names)
    if k == 2:
        return str(r.integer())
    if k == 3:
        return f"{r.choice(names)}[{expr(r, names, 2)}]"
    if k == 4:
        return f"{name(r)}({expr(r, names, depth + 1)})"
    return f"{expr(r, names, depth + 1)} {r.choice('+ - * / %'.split())} {expr(r, names, depth + 1)}"


def cond(r, names):
    return f"{expr(r, names, 1)} {r.choice(('<', '>', '==', '!=', '<=', '>='))} {expr(r, names, 1)}"


def python_code(r):
    args = [name(r) for _ in range(r.randint(1, 3))]
    out = [f"def {name(r)}({', '.join(args)}):"]
    names = list(args)
    for _ in range(r.randint(1, 5)):
        k = r.randint(0, 6)
        if k <= 2:
            v = name(r)
            out.append(f"    {v} = {expr(r, names)}")
            names.append(v)
        elif k == 3:
            out += [f"    if {cond(r, names)}:", f"        return {expr(r, names)}"]
        elif k == 4:
            v = name(r)
            out += [f"    for {v} in range({expr(r, names, 2)}):", f"        {r.choice(names)} += {expr(r, names + [v])}"]
        elif k == 5:
            out.append(f"    print(\"{r.short_phrase()}\", {r.choice(names)})")
        else:
            out.append(f"    # {r.short_phrase()}")
    return "\n".join(out + [f"    return {expr(r, names)}"])


def c_code(r):
    args = [name(r) for _ in range(r.randint(1, 3))]
    t = lambda: r.choice(("int", "float", "char *", "size_t", "double", "long", "uint8_t")).strip()
    out = [f"{r.choice(('static ', ''))}{t()} {name(r)}({', '.join(t() + ' ' + x for x in args)})", "{"]
    if r.chance(0.5):
        out = [out[0] + " {"]
    names = list(args)
    for _ in range(r.randint(1, 5)):
        k = r.randint(0, 5)
        if k <= 2:
            v = name(r)
            out.append(f"    {t()} {v} = {expr(r, names)};")
            names.append(v)
        elif k == 3:
            out.append(f"    if ({cond(r, names)}) return {expr(r, names)};")
        elif k == 4:
            out += [f"    for (int i = 0; i < {expr(r, names, 2)}; i++) {{", f"        {r.choice(names)} += {expr(r, names)};", "    }"]
        else:
            out.append(f"    /* {r.short_phrase()} */")
    return "\n".join(out + [f"    return {expr(r, names)};", "}"])


def js_code(r):
    args = [name(r) for _ in range(r.randint(1, 3))]
    out = [f"{r.choice(('function', 'async function'))} {name(r)}({', '.join(args)}) {{"]
    names = list(args)
    for _ in range(r.randint(1, 4)):
        v = name(r)
        out.append(f"  {r.choice(('const', 'let', 'var'))} {v} = {r.choice((expr(r, names), repr(r.short_phrase())))};")
        names.append(v)
    if r.chance(0.5):
        out += [f"  if ({cond(r, names)}) {{", f"    {name(r)}({r.choice(names)});", "  }"]
    return "\n".join(out + [f"  return {expr(r, names)};", "}"])


def shell_code(r):
    cmds = (lambda: f"ls -{r.choice(('l', 'la', 'lh'))} {r.path()}", lambda: f"cp {r.path()} {r.path()}",
            lambda: f"grep -{r.choice('inrv')} \"{r.word()}\" {r.path()}", lambda: f"mkdir -p {r.path()}",
            lambda: f"echo \"{r.short_phrase()}\" > {r.filename()}", lambda: f"cat {r.path()} | sort | head -n {r.randint(1, 99)}",
            lambda: f"{name(r).upper()}={r.word()}", lambda: f"git commit -m \"{r.short_phrase()}\"",
            lambda: f"for f in *.{r.choice(('txt', 'c', 'py'))}; do {r.word()} \"$f\"; done",
            lambda: f"curl -s {r.url()} -o {r.filename()}", lambda: f"make {r.word()} && ./{r.word()} --{r.word()} {r.integer()}")
    return "\n".join(r.choice(cmds)() for _ in range(r.randint(1, 5)))


def json_text(r):
    import json
    obj = {name(r): r.choice((r.word, r.integer, r.number, r.ident, lambda: r.chance(0.5), lambda: r.phrase_words(2)))()
           for _ in range(r.randint(2, 5))}
    return json.dumps(obj, indent=r.choice((None, 2, 4)))


def config_text(r):
    style = r.choice(("{k} = {v}", "{k}: {v}", "{k}={v}", "export {k}=\"{v}\""))
    head = [f"[{r.word()}]"] if r.chance(0.4) else []
    return "\n".join(head + [style.format(k=name(r), v=r.choice((r.word, r.integer, r.ident, r.path, r.url))())
                             for _ in range(r.randint(2, 6))])


CODE = (python_code, python_code, c_code, c_code, js_code, shell_code, json_text, config_text)


def code(r):
    return r.choice(CODE)(r)
