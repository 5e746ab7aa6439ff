"""Lines and bars as SVG, for the results of proofs and studies."""
import html
import math

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 340, 62, 14, 14, 44


def ticks(low, high):
    """At most a handful of values of 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(s * power for s in (1, 2, 5, 10) if (high - low) / (s * power) <= 6)
    return [round(i * step, 12) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


class Frame:
    """The axes, and the elements within; y from the values, or from 0 with `zero`."""

    def __init__(self, xs, ys, x_label, y_label, zero=False, log_x=False):
        self.log_x, self.out = log_x, []
        self.x0, self.x1 = self.span([self.along(x) for x in xs])
        self.y0, self.y1 = self.span([*ys, 0] if zero else ys)
        self.add(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
                 'font-family="sans-serif" font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
        for y in ticks(self.y0, self.y1):
            self.add(f'<path d="M{LEFT},{self.y(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            self.text(LEFT - 5, self.y(y) + 4, f"{y:g}", "end")
        self.add(f'<path d="M{LEFT},{TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="black"/>')
        self.text((LEFT + WIDTH) / 2, HEIGHT - 8, x_label)
        self.add(f'<text x="14" y="{HEIGHT / 2:.0f}" transform="rotate(-90 14 {HEIGHT / 2:.0f})" text-anchor="middle">{html.escape(y_label)}</text>')

    @staticmethod
    def span(values):
        low, high = min(values), max(values)
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def along(self, x):
        return math.log2(x) if self.log_x else x

    def x(self, x):
        return LEFT + (WIDTH - RIGHT - LEFT) * (self.along(x) - self.x0) / (self.x1 - self.x0)

    def y(self, y):
        return TOP + (HEIGHT - BOTTOM - TOP) * (self.y1 - y) / (self.y1 - self.y0)

    def add(self, *elements):
        self.out += elements

    def text(self, x, y, text, anchor="middle", colour="black"):
        self.add(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{html.escape(text)}</text>')

    def legend(self, names, left=False):
        for i, name in enumerate(names):
            x, anchor = (LEFT + 8, "start") if left else (WIDTH - RIGHT - 6, "end")
            self.text(x, TOP + 14 + 16 * i, name, anchor, COLOURS[i % len(COLOURS)])

    def write(self, path):
        path.write_text("\n".join(self.out + ["</svg>"]) + "\n")


def line_plot(path, curves, x_label, y_label, log_x=False, zero=False, marks=False):
    """`curves`: name -> [(x, y), ...]. `log_x` has a tick at every x, `marks` dots at the points."""
    points = [p for curve in curves.values() for p in curve]
    frame = Frame([x for x, _ in points], [y for _, y in points], x_label, y_label, zero, log_x)
    last = None
    for x in sorted({x for x, _ in points}) if log_x else ticks(frame.x0, frame.x1):
        if last is None or frame.x(x) - last >= 30:  # room for the number
            frame.text(last := frame.x(x), HEIGHT - BOTTOM + 16, f"{x:g}")
    for i, curve in enumerate(curves.values()):
        colour = COLOURS[i % len(COLOURS)]
        path_of = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in curve)
        frame.add(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path_of}"/>')
        if marks:
            frame.add(*(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3" fill="{colour}"/>' for x, y in curve))
    above = [frame.x(x) < (LEFT + WIDTH) / 2 for x, y in points if frame.y(y) < HEIGHT / 2]
    frame.legend(curves, left=above.count(True) < above.count(False))
    frame.write(path)


def bar_plot(path, groups, y_label):
    """`groups`: group -> {series: (value, error)}, all of the same series; the error is drawn to both sides of the bar's end."""
    series = list(next(iter(groups.values())))
    high = [value + error for bars in groups.values() for value, error in bars.values()]
    frame = Frame([0, len(groups)], [*high, max(high) * 1.25], "", y_label, zero=True)
    wide = 0.8 / len(series)
    for g, (group, bars) in enumerate(groups.items()):
        frame.text(frame.x(g + 0.5), HEIGHT - BOTTOM + 16, group)
        for s, name in enumerate(series):
            value, error = bars[name]
            left, right, top = frame.x(g + 0.1 + wide * s), frame.x(g + 0.1 + wide * (s + 0.9)), frame.y(value)
            middle = (left + right) / 2
            frame.add(f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{frame.y(0) - top:.1f}" fill="{COLOURS[s]}"/>',
                      f'<path d="M{middle:.1f},{frame.y(value - error):.1f}V{frame.y(value + error):.1f}" stroke="black"/>')
    frame.legend(series)
    frame.write(path)
