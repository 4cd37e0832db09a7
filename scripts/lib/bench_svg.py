"""Charts as SVG text, with nothing but the standard library.

A chart is a figure of its own: title, axes, grid, legend. Colours are told apart by people who do
not see all of them (after Okabe and Ito).
"""
import math
from html import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 68, 20, 74, 52
INK, FAINT, GRID, GOAL = "#222", "#666", "#e3e3e3", "#b00020"
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5d2a7a", "#8c6d31",
           "#5254a3", "#a1d99b", "#f0b6b6", "#c7b42c", "#1b1b1b", "#9ecae1", "#b5651d"]


def number(value):
    """Short, with three digits that mean something."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g} M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.3g} k"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def nice_ticks(top, wanted=6):
    """Round steps from 0 to at least top."""
    if top <= 0:
        return [0, 1]
    raw = top / wanted
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw)
    n = math.ceil(top / step - 1e-9)
    return [i * step for i in range(n + 1)]


class Chart:
    def __init__(self, title, y_title, top):
        self.parts = []
        self.ticks = nice_ticks(top)
        self.top = self.ticks[-1]
        self.text(LEFT - 52, 20, title, size=15, weight="600")
        self.text(LEFT - 52, 38, y_title, size=11, fill=FAINT)
        for tick in self.ticks:
            y = self.y(tick)
            self.line(LEFT, y, WIDTH - RIGHT, y, GRID)
            self.text(LEFT - 8, y + 4, number(tick), anchor="end", size=11, fill=FAINT)
        self.line(LEFT, self.y(0), WIDTH - RIGHT, self.y(0), FAINT)

    def y(self, value):
        return HEIGHT - BOTTOM - min(value, self.top) / self.top * (HEIGHT - BOTTOM - TOP)

    def text(self, x, y, words, size=12, anchor="start", fill=INK, weight="400"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" '
                          f'text-anchor="{anchor}" font-weight="{weight}">'
                          f"{escape(str(words))}</text>")

    def line(self, x1, y1, x2, y2, stroke, width=1.0, dash=""):
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke="{stroke}" stroke-width="{width}"{dash}/>')

    def rect(self, x, y, width, height, fill, hint=""):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
                          f'height="{max(height, 0):.1f}" fill="{fill}"><title>{escape(hint)}'
                          "</title></rect>")

    def legend(self, names, colours):
        """From left to right, in as many rows as it takes (two fit)."""
        x, y = LEFT - 52, 56
        for name, colour in zip(names, colours):
            width = 18 + 6.4 * len(name) + 12
            if x + width > WIDTH:
                x, y = LEFT - 52, y + 14
            self.rect(x, y - 8, 10, 10, colour, name)
            self.text(x + 14, y + 1, name, size=11)
            x += width

    def goal(self, x1, x2, value):
        self.line(x1, self.y(value), x2, self.y(value), "#fff", 5)
        self.line(x1, self.y(value), x2, self.y(value), GOAL, 2.5)

    def x_title(self, words):
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, words, size=11, anchor="middle",
                  fill=FAINT)

    def svg(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                f'width="{WIDTH}" height="{HEIGHT}" role="img" '
                'font-family="system-ui, sans-serif">'
                f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
                + "".join(self.parts) + "</svg>")


def slots(n):
    """Centres and width of n places along the x axis."""
    width = (WIDTH - LEFT - RIGHT) / max(n, 1)
    return [LEFT + width * (i + 0.5) for i in range(n)], width


# What has a meaning of its own has the same colour in every chart.
MEANINGS = {"Internet to peer": "#0072b2", "Peer to Internet": "#e69f00", "Both ways": "#009e73",
            "quiet": "#999999", "other work": "#e69f00", "AEAD": "#9aa5ad"}


def colours_of(names):
    """For each name its own colour; the others in order, without those that are taken."""
    free = iter(c for c in COLOURS * 2 if c not in {MEANINGS[n] for n in names if n in MEANINGS})
    return [MEANINGS[name] if name in MEANINGS else next(free) for name in names]


def bars(title, y_title, x_title, groups, series, goals=None, labels=True):
    """series: [(name, [value or None for each group])]; goals: {group: value}."""
    goals = goals or {}
    colours = colours_of([name for name, _ in series])
    values = [v for _, vs in series for v in vs if v is not None] + list(goals.values())
    chart = Chart(title, y_title, max(values, default=1) * 1.08)
    centres, room = slots(len(groups))
    bar = room * 0.8 / max(len(series), 1)
    for centre, group in zip(centres, groups):
        chart.text(centre, HEIGHT - BOTTOM + 18, group, anchor="middle")
    for k, (name, vs) in enumerate(series):
        for centre, value in zip(centres, vs):
            if value is None:
                continue
            x = centre - room * 0.4 + k * bar
            chart.rect(x + 1, chart.y(value), bar - 2, chart.y(0) - chart.y(value), colours[k],
                       f"{name}: {number(value)}")
            if labels and bar > 24:
                chart.text(x + bar / 2, chart.y(value) - 4, number(value), size=10, anchor="middle")
    for centre, group in zip(centres, groups):
        if group in goals:
            chart.goal(centre - room * 0.46, centre + room * 0.46, goals[group])
    names = [name for name, _ in series] + (["goal"] if goals else [])
    if len(names) > 1:
        chart.legend(names, colours + [GOAL])
    chart.x_title(x_title)
    return chart.svg()


def stacked(title, y_title, x_title, groups, series, marks=()):
    """series as in bars, one on the other; marks: a value for each group, drawn as a line."""
    colours = colours_of([name for name, _ in series])
    totals = [sum(vs[i] or 0 for _, vs in series) for i in range(len(groups))]
    chart = Chart(title, y_title, max(totals + list(marks), default=1) * 1.08)
    centres, room = slots(len(groups))
    for i, (centre, group) in enumerate(zip(centres, groups)):
        chart.text(centre, HEIGHT - BOTTOM + 18, group, anchor="middle")
        base = 0.0
        for k, (name, vs) in enumerate(series):
            value = vs[i] or 0
            chart.rect(centre - room * 0.3, chart.y(base + value), room * 0.6,
                       chart.y(base) - chart.y(base + value), colours[k],
                       f"{name}: {number(value)}")
            base += value
        if marks:
            y = chart.y(marks[i])
            chart.line(centre - room * 0.4, y, centre + room * 0.4, y, "#000", 2, "4 3")
            base = max(base, marks[i])
        chart.text(centre, chart.y(base) - 5, number(totals[i]), size=11, anchor="middle")
    chart.legend([name for name, _ in series], colours)
    chart.x_title(x_title)
    return chart.svg()


def lines(title, y_title, x_title, series, x_log=False, points=True):
    """series: [(name, [(x, y)])]."""
    colours = colours_of([name for name, _ in series])
    xs = sorted({x for _, ps in series for x, _ in ps})
    ys = [y for _, ps in series for _, y in ps]
    chart = Chart(title, y_title, max(ys, default=1) * 1.08)

    def scale(x):
        return math.log10(x) if x_log else x

    low, high = scale(xs[0]), scale(xs[-1])
    pad = 30

    def at(x):
        share = (scale(x) - low) / (high - low) if high > low else 0.5
        return LEFT + pad + share * (WIDTH - LEFT - RIGHT - 2 * pad)

    ticks = xs if len(xs) <= 12 else [t for t in nice_ticks(xs[-1], 8) if xs[0] <= t <= xs[-1]]
    for x in ticks:
        chart.text(at(x), HEIGHT - BOTTOM + 18, number(x), anchor="middle")
        chart.line(at(x), chart.y(0), at(x), chart.y(0) + 4, FAINT)
    for k, (name, ps) in enumerate(series):
        path = " ".join(f"{'L' if i else 'M'}{at(x):.1f},{chart.y(y):.1f}"
                        for i, (x, y) in enumerate(ps))
        chart.parts.append(f'<path d="{path}" fill="none" stroke="{colours[k]}" stroke-width="2"/>')
        for x, y in ps if points else []:
            chart.parts.append(f'<circle cx="{at(x):.1f}" cy="{chart.y(y):.1f}" r="3.5" '
                               f'fill="{colours[k]}"><title>{escape(name)}: {number(y)}</title>'
                               "</circle>")
    chart.legend([name for name, _ in series], colours)
    chart.x_title(x_title)
    return chart.svg()
