#!/usr/bin/env python3
"""Recomputes the numbers of a run from its samples and holds them against isobench's own CSV.

    isobench report RUN --format csv > run.csv
    scripts/recompute.py results/RUN run.csv

Written after docs/METHODOLOGY.md and docs/FORMATS.md, not after the Rust code, so that an error in the code does not
repeat itself here. (The constants of "Steady state" were added to the text from the code,
because it named none.) Runs of load, intervals of tails from 36 blocks and the flags are not recomputed.

It needs only Python's standard library. Each rule of the documents is a function of its own.

Exit status: 0 if every recomputed number agrees, 1 if one does not or there was nothing to compare, 2 for wrong usage
or a newer schema.
"""

import base64
import csv
import json
import math
import struct
import sys
import zlib
from collections import Counter, defaultdict
from pathlib import Path

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
# Flags that take a start out of the headline and give it a row of its own, and those that are in no row.
OWN_ROW = ("first_in_process", "first_after_import")
NO_ROW = ("warm_up",)
# A newer schema may define numbers otherwise.
NEWEST_SCHEMA = 5
# Numbers in the CSV have all their digits; sums in another order differ in the last ones.
TOLERANCE = 1e-9


# The rules of "Statistics" in docs/METHODOLOGY.md.


def median(values):
    x, half = sorted(values), len(values) // 2
    return x[half] if len(x) % 2 else (x[half - 1] + x[half]) / 2


def quantile(weighted, q):
    """Definition 2 of Hyndman and Fan, of pairs of a value and its share of the weight."""
    below, pairs = 0.0, sorted(weighted)
    for place, (value, weight) in enumerate(pairs):
        below += weight
        if abs(below - q) < TOLERANCE and place + 1 < len(pairs):
            return (value + pairs[place + 1][0]) / 2
        if below >= q - TOLERANCE:
            return value
    return pairs[-1][0]


def is_supported(q, block_sizes):
    """Blocks times the samples of the shortest block must be at least 1/(1-q)."""
    return q == 0.5 or len(block_sizes) * min(block_sizes) >= 1 / (1 - q) - TOLERANCE


def spread_of_median(blocks):
    """An interval from 6 blocks up (Hettmansperger and Sheather), the lowest and highest block below that."""
    x, n = sorted(blocks), len(blocks)
    if n < 2:
        return None
    if n < 6:
        return ("range", x[0], x[-1])

    def outside(k):
        return sum(math.comb(n, i) for i in range(k)) / 2**n

    k = max(k for k in range(1, n) if outside(k) <= 0.025)
    step = (0.025 - outside(k)) / (outside(k + 1) - outside(k))
    part = (n - k) * step / (k + (n - 2 * k) * step)
    return ("interval", x[k - 1] + part * (x[k] - x[k - 1]), x[n - k] - part * (x[n - k] - x[n - k - 1]))


def theil_sen(readings):
    """Slope and fixed part of one block's pairs of live instances and bytes."""
    slopes = [(y2 - y1) / (n2 - n1) for i, (n1, y1) in enumerate(readings) for n2, y2 in readings[i + 1 :] if n1 != n2]
    if not slopes:
        return None
    slope = median(slopes)
    return slope, median([y - slope * n for n, y in readings])


# The rules of "Steady state".


def points_of(series):
    """Edges of at most 100 runs of consecutive calls, and the logarithm of each run's median over the series' own."""
    count, middle = min(len(series), 100), median(series)
    edges = [point * len(series) // count for point in range(count + 1)]
    levels = [median(series[begin:end]) for begin, end in zip(edges, edges[1:])]
    return edges, [math.log(max(level / middle, 1e-3)) if middle else 0.0 for level in levels]


def price_of_a_segment(y):
    """λ, from the median absolute differences at distance one and two."""
    near = median([abs(a - b) for a, b in zip(y, y[1:])])
    far = median([abs(a - b) for a, b in zip(y, y[2:])])
    if near > 0:
        deviation, rho = near / 0.6745, min(max((far / near) ** 2 - 1, 0), 0.75)
    else:
        deviation, rho = sum(abs(a - b) for a, b in zip(y, y[1:])) / (len(y) - 1) / 0.7979, 0
    b = 0.7979 * deviation / math.sqrt(2 * (1 - rho))
    return 2 * math.log(len(y)) * b * (1 + rho) / (1 - rho)


def segment_begins(y, shortest):
    """The first points of the segments whose absolute deviations and price are least."""
    n, price = len(y), price_of_a_segment(y)
    least, begins = [0.0] + [math.inf] * n, [0] * (n + 1)
    for begin in range(n - shortest + 1):
        if math.isinf(least[begin]):
            continue
        for end in range(begin + shortest, n + 1):
            middle = median(y[begin:end])
            cost = least[begin] + sum(abs(value - middle) for value in y[begin:end]) + (price if begin else 0)
            if cost < least[end]:
                least[end], begins[end] = cost, begin
    found, end = [], n
    while end:
        end = begins[end]
        found.insert(0, end)
    return found


def settled_part(series):
    """The calls that the headline takes: the settled part without the first tenth, or the second half."""
    calls = len(series)
    if calls < 30:
        return series[calls // 2 :]
    edges, y = points_of(series)
    begins = [edges[point] for point in segment_begins(y, len(y) // 10)]
    levels = [median(series[begin:end]) for begin, end in zip(begins, begins[1:] + [calls])]
    first = len(levels) - 1
    while first and abs(levels[first - 1] - levels[-1]) <= 0.1 * levels[-1]:
        first -= 1
    if begins[first] > 0.75 * calls:
        return series[calls // 2 :]
    return series[max(begins[first], calls // 10) :]


# The rules of "Undisturbed samples".


def most_of_a_probe(records):
    """The most that an undisturbed probe takes: 6 % over the 1 % quantile of all readings. None without readings."""
    readings = [ns for record in records for ns in record.get("p", [])]
    readings += [ns for record in records for stretch in record.get("s", []) for ns in stretch["p"]]
    return quantile([(ns, 1 / len(readings)) for ns in readings], 0.01) * 1.06 if readings else None


def is_undisturbed(readings, most):
    """Whether both readings around a sample are low; None where it was not probed."""
    return None if readings is None else max(readings) <= most


def undisturbed(block):
    return [value for value, was in block if was]


def contributes(block):
    return block and len(undisturbed(block)) >= min(3, len(block))


def chosen(blocks):
    """The blocks' values that figures are made of, and the share undisturbed; None without probes."""
    if all(was is None for block in blocks for _, was in block):
        return [[value for value, _ in block] for block in blocks], None
    share = sum(len(undisturbed(block)) for block in blocks) / sum(len(block) for block in blocks)
    good = [undisturbed(block) for block in blocks if contributes(block)]
    enough = len(good) >= min(6, len(blocks))
    return good if enough else [[value for value, _ in block] for block in blocks], share


def early_blocks(records):
    """The blocks of 20 or more probed starts, whose starts 2 to 10 are a row of their own."""
    starts = [r for r in records if r["t"] == "samples" and r["e"] == "cold_start" and r["m"] == "total"]
    return {r["b"] for r in starts if r["i"] >= 19 and "p" in r}


def headline_row(flags):
    """The row that a start belongs to: `` for the headline, a flag's name, or None for no row."""
    if any(flag in NO_ROW for flag in flags):
        return None
    return next((flag for flag in OWN_ROW if flag in flags), "")


# HdrHistogram's V2 encoding.


class Histogram:
    """Counts by index, added up over blocks, and the constants that turn an index into a value."""

    def __init__(self):
        self.counts, self.shift, self.half = Counter(), 0, 0

    def add(self, encoded):
        packed = base64.b64decode(encoded)
        plain = zlib.decompress(packed[8:])
        _, length, _, digits, lowest, _, _ = struct.unpack(">IIIIQQd", plain[:40])
        self.shift = int(math.log2(lowest))
        self.half = math.ceil(math.log2(2 * 10**digits)) - 1
        index, total = 0, 0
        for number in zigzag_numbers(plain[40 : 40 + length]):
            if number < 0:
                index -= number
                continue
            self.counts[index] += number
            total += number
            index += 1
        return total

    def highest_of(self, index):
        """The highest value that is counted at `index`."""
        bucket, sub = (index >> self.half) - 1, (index & ((1 << self.half) - 1)) + (1 << self.half)
        if bucket < 0:
            bucket, sub = 0, sub - (1 << self.half)
        return ((sub + 1) << (bucket + self.shift)) - 1

    def at(self, q):
        wanted = max(1, math.ceil(q * sum(self.counts.values()) - TOLERANCE))
        for index in sorted(self.counts):
            wanted -= self.counts[index]
            if wanted <= 0:
                return self.highest_of(index)
        raise ValueError("an empty histogram has no quantile")

    def max(self):
        return self.highest_of(max(index for index, count in self.counts.items() if count))


def zigzag_numbers(data):
    """LEB128 of at most nine bytes, the ninth with eight bits, zigzag."""
    place = 0
    while place < len(data):
        number = 0
        for byte in range(9):
            value = data[place]
            place += 1
            number |= (value if byte == 8 else value & 0x7F) << (7 * byte)
            if byte == 8 or not value & 0x80:
                break
        yield (number >> 1) ^ -(number & 1)


# From samples to numbers. A number's key is (experiment, metric, mode, n, statistic), as in the CSV.


def records_of_whole_blocks(path):
    """All lines of the blocks whose last line is there."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    whole = {(record["c"], record["b"]) for record in records if record["t"] == "block"}
    return [record for record in records if (record["c"], record["b"]) in whole]


def number(value, spread, samples, blocks):
    return {"value": value, "spread": spread, "samples": samples, "blocks": blocks}


def times_of(blocks):
    """The statistics of times, from each block's pairs of a value and whether it was undisturbed."""
    blocks = [block for block in blocks if block]
    if not blocks:
        return
    values, share = chosen(blocks)
    found = dict(times(values))
    if share is not None:
        levels = [median([value for value, _ in block]) for block in blocks]
        found["p50_all"] = found["p50"] | {"value": median(levels), "spread": spread_of_median(levels)}
        found["undisturbed"] = found["p50"] | {"value": share, "spread": None}
    yield from found.items()


def times(blocks):
    """The statistics of times, from each block's samples."""
    sizes = [len(block) for block in blocks]
    total, every = sum(sizes), [value for block in blocks for value in block]
    levels = [median(block) for block in blocks]
    yield "p50", number(median(levels), spread_of_median(levels), total, len(blocks))
    for name in ("p90", "p99", "p999"):
        q = QUANTILES[name]
        if is_supported(q, sizes):
            weighted = [(value, 1 / len(block) / len(blocks)) for block in blocks for value in block]
            yield name, number(quantile(weighted, q), spread_of_tail(blocks, q), total, len(blocks))
    yield "min", number(min(every), None, total, len(blocks))
    yield "max", number(max(every), None, total, len(blocks))


def spread_of_tail(blocks, q):
    """The range of the blocks' own quantiles; with enough blocks Woodruff's interval, whose ends are not redone here."""
    if len(blocks) < 2:
        return None
    if len(blocks) >= math.log(0.025) / math.log(q):
        return ("interval", None, None)
    own = [quantile([(value, 1 / len(block)) for value in block], q) for block in blocks]
    return ("range", min(own), max(own))


def cold_starts(records, most):
    series, early = defaultdict(lambda: defaultdict(list)), early_blocks(records)
    starts = [r for r in records if r["t"] == "samples" and r["e"] == "cold_start"]
    probes = {(r["b"], r["i"]): r.get("p") for r in starts if r["m"] == "total"}
    for record in starts:
        row = headline_row(record.get("f", []))
        if row is None:
            continue
        if row == "" and record["b"] in early and record["i"] < 10:
            row = "starts_2_to_10"
        was = is_undisturbed(probes.get((record["b"], record["i"])), most)
        series[record["m"], row][record["b"]] += [(value, was) for value in record["v"]]
    for (metric, row), blocks in series.items():
        for statistic, found in times_of(list(blocks.values())):
            yield ("cold_start", metric, row, "", statistic), found


def warm_calls(records, most):
    series = defaultdict(lambda: defaultdict(list))
    for record in sorted((r for r in records if r["t"] == "samples"), key=lambda r: r["i"]):
        if record["e"] == "warm_call" and headline_row(record.get("f", [])) is not None:
            was = is_undisturbed(record.get("p"), most)
            series[record["m"]][record["b"]] += [(value, was) for value in record["v"]]
    for metric, blocks in series.items():
        settled = []
        for calls in blocks.values():
            kept = len(settled_part([value for value, _ in calls]))
            settled.append(calls[len(calls) - kept :])
        for statistic, found in times_of(settled):
            yield ("warm_call", metric, "", "", statistic), found


def footprints(records, _):
    readings = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record["t"] == "samples" and record["e"] == "footprint":
            readings[record["m"]][record["b"]].append((record["n"], median(record["v"])))
    for metric, blocks in readings.items():
        for n in sorted({n for block in blocks.values() for n, _ in block}):
            values = [y for block in blocks.values() for at, y in block if at == n]
            yield ("footprint", metric, "", str(n), "p50"), number(median(values), spread_of_median(values), None, None)
        lines = [line for line in map(theil_sen, blocks.values()) if line]
        for place, statistic in enumerate(("slope", "fixed")):
            values = [line[place] for line in lines]
            if values:
                found = number(median(values), spread_of_median(values), None, None)
                yield ("footprint", metric, "", "", statistic), found


def rates_of(visits, most):
    """Calls per second by block, of the undisturbed stretches where enough blocks have some; and their share."""
    whole = [visit["calls"] * 1e9 / visit["elapsed_ns"] for visit in visits]
    blocks = [[(s, is_undisturbed(s["p"], most)) for s in visit.get("s", [])] for visit in visits]
    if not any(blocks):
        return whole, None
    share = sum(len(undisturbed(block)) for block in blocks) / sum(len(block) for block in blocks)
    good = [undisturbed(block) for block in blocks if contributes(block)]
    if len(good) < min(6, len(blocks)):
        return whole, share
    return [sum(s["c"] for s in block) * 1e9 / sum(s["ns"] for s in block) for block in good], share


def throughputs(records, most):
    visits = defaultdict(list)
    for record in records:
        if record["t"] == "histogram":
            visits[record["mode"], str(record["n"])].append(record)
    for (mode, n), found in visits.items():
        (rates, share), sum_of_all = rates_of(found, most), Histogram()
        sizes = [sum_of_all.add(visit["hdr"]) for visit in found]
        key = lambda metric, statistic: ("throughput", metric, mode, n, statistic)
        yield key("rate", "p50"), number(median(rates), spread_of_median(rates), sum(sizes), len(found))
        if share is not None:
            whole = [visit["calls"] * 1e9 / visit["elapsed_ns"] for visit in found]
            yield key("rate", "p50_all"), number(median(whole), spread_of_median(whole), sum(sizes), len(found))
            yield key("rate", "undisturbed"), number(share, None, sum(sizes), len(found))
        for name, q in QUANTILES.items():
            # The latencies of all blocks are added up, so all calls count.
            if q == 0.5 or sum(sizes) >= 1 / (1 - q) - TOLERANCE:
                yield key("latency", name), number(sum_of_all.at(q), None, sum(sizes), len(found))
        yield key("latency", "max"), number(sum_of_all.max(), None, sum(sizes), len(found))


def recompute(run, records):
    """Every number of every cell without a fault: (cell, key) to number."""
    by_cell, numbers, most = defaultdict(list), {}, most_of_a_probe(records)
    for record in records:
        by_cell[record["c"]].append(record)
    for cell in run["cells"]:
        if cell.get("faults"):
            continue
        name = tuple(cell["cell"].get(key) or "" for key in ("backend", "variant", "guest", "engine", "workload", "case"))
        for rule in (cold_starts, warm_calls, footprints, throughputs):
            for key, found in rule(by_cell[cell["id"]], most):
                numbers[name + (cell.get("side") or "",), key] = found
    return numbers


# Against the CSV.


def differences(row, found):
    """What the row says otherwise than `found`, as (column, in the CSV, recomputed)."""
    expected = {"value": found["value"], "spread_kind": "", "low": "", "high": ""}
    if found["spread"]:
        expected |= dict(zip(("spread_kind", "low", "high"), found["spread"]))
    expected |= {column: found[column] for column in ("samples", "blocks") if found[column] is not None}
    for column, value in expected.items():
        if value is not None and not agrees(row[column], value):
            yield column, row[column], value


def agrees(printed, value):
    if isinstance(value, str) or printed == "":
        return printed == value
    return math.isclose(float(printed), value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def main(folder, csv_file):
    folder = Path(folder)
    run = json.loads((folder / "run.json").read_text())
    if run["schema"] > NEWEST_SCHEMA:
        known = f"this script knows the definitions up to schema {NEWEST_SCHEMA}"
        print(f"{folder}: schema {run['schema']}; {known}", file=sys.stderr)
        return 2
    numbers = recompute(run, records_of_whole_blocks(folder / "samples.jsonl"))
    agreed, wrong, left_out = 0, 0, Counter()
    seen = set()
    with open(csv_file, newline="") as file:
        for row in csv.DictReader(file):
            if row["verdict"] not in ("ok", "flagged"):
                continue
            if row["experiment"] not in ("cold_start", "warm_call", "footprint", "throughput"):
                left_out[row["experiment"]] += 1
                continue
            name = tuple(row[key] for key in ("backend", "variant", "guest", "engine", "workload", "case", "side"))
            key = tuple(row[key] for key in ("experiment", "metric", "mode", "n", "statistic"))
            label = " ".join(part for part in ("/".join(part for part in name if part), *key) if part)
            seen.add((name, key))
            if (name, key) not in numbers:
                wrong += 1
                print(f"{label}: the samples give no such number, the CSV says {row['value']}")
                continue
            found = list(differences(row, numbers[name, key]))
            for column, printed, value in found:
                print(f"{label}: {column} is {printed or 'empty'} in the CSV and {value} by the samples")
            wrong, agreed = wrong + bool(found), agreed + (not found)
    for name, key in sorted(set(numbers) - seen):
        wrong += 1
        print(f"{'/'.join(part for part in name if part)} {' '.join(part for part in key if part)}: not in the CSV")
    for experiment, count in sorted(left_out.items()):
        print(f"not recomputed: {count} numbers of {experiment}")
    print(f"{agreed} numbers agree, {wrong} do not")
    return 0 if agreed and not wrong else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: scripts/recompute.py RUN_FOLDER CSV_FILE", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
