# SPDX-License-Identifier: Apache-2.0
"""What all pictures have in common: how they look, and the machine and the code that they are of. Needs Debian's python3-matplotlib."""

import sys


def library():
    try:
        import matplotlib
        matplotlib.use("svg")
        import matplotlib.pyplot as pyplot
    except ImportError:
        sys.exit("bench.py plot: matplotlib is missing: apt-get install python3-matplotlib (and run with /usr/bin/python3)")
    matplotlib.rcParams.update({"svg.hashsalt": "apus", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    return pyplot


def conditions(run):
    where, git = run["machine"], run["machine"]["git"]
    return (f"{where['cpu']['model']}{' (virtual)' if where['cpu']['virtual'] else ''}, load {where['load'][0]:.1f}; revision "
            f"{(git['revision'] or '?')[:12]}{' with changes' if git['dirty'] else ''}, {run['when'][:10]}")


def save(pyplot, run, figure, path):
    figure.text(0.01, 0.005, conditions(run), fontsize=6, color="gray")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    print(path)


def reach(figures):
    """From the medians to the ends of the ranges, as errorbar() and barh() want it."""
    return [[each["median"] - each["least"] for each in figures], [each["greatest"] - each["median"] for each in figures]]
