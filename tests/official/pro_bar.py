#!/usr/bin/env python3
"""Adjusted bars of the unmodified `tushare` package against the mirror's own.

    pro_bar.py --url http://127.0.0.1:7878 --token TOKEN --from 20230301 --to 20240202

`tushare.pro_bar` asks the mirror for raw bars and factors and adjusts them itself; the mirror adjusts the same bars when it
is asked with `adjust`. Prices must agree to the two digits that `pro_bar` keeps, for days, weeks and months, and so must the
column `change`. At least one security must have had an ex-date. Leaves with 1 when anything differs.
"""

import argparse
import sys

import tushare

PRICES = ["open", "high", "low", "close", "pre_close"]
# Half a unit of the second digit, and what binary floats add.
TOLERANCE = 0.005 + 1e-6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ["url", "token", "from", "to"]:
        parser.add_argument(f"--{name}", required=True)
    arguments = vars(parser.parse_args())
    client = tushare.pro_api(arguments["token"])
    client._DataApi__http_url = arguments["url"]
    span = {"start_date": arguments["from"], "end_date": arguments["to"]}
    codes = sorted(client.stock_basic(fields="ts_code")["ts_code"])
    compared = adjusted = 0
    for code in codes:
        for freq, table in [("D", client.daily), ("W", client.weekly), ("M", client.monthly)]:
            for adjust in ["qfq", "hfq"]:
                theirs = tushare.pro_bar(ts_code=code, api=client, freq=freq, adj=adjust, **span)
                ours = table(ts_code=code, adjust=adjust, **span)
                if theirs is None or theirs.empty:
                    if not ours.dropna(subset=["close"]).empty:
                        sys.exit(f"{code} {freq} {adjust}: pro_bar has nothing, the mirror has {len(ours)} rows")
                    continue
                if list(theirs["trade_date"]) != list(ours["trade_date"]):
                    sys.exit(f"{code} {freq} {adjust}: other days")
                for column in PRICES + ["change"]:
                    # A difference of two rounded prices is off by up to twice as much.
                    tolerance = TOLERANCE * (2 if column == "change" else 1)
                    worst = (theirs[column] - ours[column]).abs().max()
                    if not worst <= tolerance:
                        sys.exit(f"{code} {freq} {adjust} {column}: {worst} apart")
                    compared += len(ours)
                raw = table(ts_code=code, **span)
                adjusted += int((raw["close"] - ours["close"]).abs().max() > 0.01)
                if list(raw["vol"]) != list(ours["vol"]):
                    sys.exit(f"{code} {freq} {adjust}: volumes were adjusted")
    if not compared or not adjusted:
        sys.exit(f"{compared} values compared, {adjusted} tables with an ex-date: too few to prove anything")
    print(f"{compared} adjusted values of {len(codes)} securities agree, {adjusted} tables with ex-dates")


if __name__ == "__main__":
    main()
