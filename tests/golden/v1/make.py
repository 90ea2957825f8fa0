"""How the golden run of format 1 was made: `python tests/golden/v1/make.py DIRECTORY`.

The lines were written by hand, from the description of the format in architecture.md and README.md; no code of corelib has
part in it, only CRC-32 and zstd. The run: a primary writer with a sealed and a hot segment, and a forked child that was killed
in the middle of a line. Never change this file: a new version of the format gets a golden run of its own beside this one.
"""

import sys
from pathlib import Path
from zlib import crc32

import zstandard

RUN = "offline-run-20260102_030405-golden01"

SEALED = r"""
{"type":"header","seq":0,"time":1767323045.0,"version":1,"run_id":"golden01","writer":"main0001","segment":1,"start_time":1767323045.0,"host":"node-7","pid":4711,"primary":true}
{"type":"run","seq":1,"time":1767323045.25,"project":"iris","entity":"botany","name":"swift-elm-3","group":"sweep","job_type":"train","notes":"first\nsecond line, ünïcode 🌱","tags":["baseline","a b"],"mode":"offline","resumed":true,"starting_step":10,"runtime_offset":30.5,"previous":"offline-run-20260101_000000-golden01","decision":"The run directory offline-run-20260101_000000-golden01 has this id, so it is resumed at step 10.","config":{"lr":0.1,"layers":[16,8],"optimizer":{"name":"adam","betas":[0.9,0.999]},"seed":null,"nesterov":false},"summary":{"loss":0.75,"_step":9},"program":"train.py","sweep_id":"s1"}
{"type":"row","seq":2,"time":1767323046.0,"step":10,"data":{"loss":0.5,"epoch":0,"ok":true}}
{"type":"row","seq":3,"time":1767323046.5,"step":11,"data":{"nan":"NaN","inf":"Infinity","minus_inf":"-Infinity","minus_zero":-0.0,"tiny":5e-324,"huge":1.7976931348623157e308,"third":0.3333333333333333}}
{"type":"row","seq":4,"time":1767323047.0,"step":12,"data":{"text_nan":"\\NaN","text_escaped":"\\\\Infinity","text_plain":"nan","backslash":"\\","empty":"","surrogate":"\ud800","control":"\u0000\n\t"}}
{"type":"row","seq":5,"time":1767323047.5,"step":13,"data":{"beyond":18446744073709551616,"below":-9223372036854775809,"far":1000000000000000000000000000000,"list":["NaN",[1,null,"\\-Infinity"]],"a.b":1,"x":{"y":2,"z.w":{"NaN":3}}}}
{"type":"row","seq":6,"time":1767323048.0,"step":14,"data":{"part":1,"nested":{"left":1}},"commit":false}
{"type":"row","seq":7,"time":1767323048.25,"step":14,"data":{"nested":{"right":2}},"commit":false}
{"type":"row","seq":8,"time":1767323048.5,"step":3,"data":{"behind":1},"late":true}
{"type":"row","seq":9,"time":1767323048.75,"step":14,"data":{"part":2}}
{"type":"config","seq":10,"time":1767323049.0,"update":{"lr":0.05,"optimizer":{"name":"sgd"}},"remove":["seed"]}
{"type":"metric","seq":11,"time":1767323049.25,"name":"loss","step_metric":"epoch","step_sync":true,"hidden":false,"summary":["min","max"],"overwrite":true}
{"type":"metric","seq":12,"time":1767323049.5,"name":"acc*","summary":["none"]}
{"type":"summary","seq":13,"time":1767323049.75,"update":{"best":{"value":"NaN"},"note":"by hand"},"remove":["ok"]}
{"type":"change","seq":14,"time":1767323050.0,"name":"renamed","notes":"","tags":["final"]}
{"type":"change","seq":15,"time":1767323050.25,"tags":[]}
{"type":"file","seq":16,"time":1767323050.5,"path":"media/a b.txt","policy":"live"}
{"type":"alert","seq":17,"time":1767323050.75,"title":"Loss","text":"is NaN","level":"WARN","wait_duration":0.0}
{"type":"preempting","seq":18,"time":1767323051.0}
"""

HOT = r"""
{"type":"header","seq":19,"time":1767323052.0,"version":1,"run_id":"golden01","writer":"main0001","segment":2,"start_time":1767323045.0,"host":"node-7","pid":4711,"primary":true}
{"type":"row","seq":20,"time":1767323052.0,"step":15,"data":{"loss":0.25,"epoch":1,"acc":0.875}}
{"type":"row","seq":21,"time":1767323054.5,"step":16,"data":{"_timestamp":1767323054.125,"loss":0.375}}
{"type":"exit","seq":22,"time":1767323055.0,"exit_code":0,"runtime":40.5}
"""

CHILD = r"""
{"type":"header","seq":0,"time":1767323052.5,"version":1,"run_id":"golden01","writer":"child001","segment":1,"start_time":1767323045.0,"host":"node-7","pid":4712,"primary":false}
{"type":"row","seq":1,"time":1767323053.0,"step":null,"data":{"child":1}}
"""

TORN = b'deadbeef {"type":"row","seq":2,"ti'


def lines(text: str) -> list[bytes]:
    return [line.encode() for line in text.strip().split("\n")]


def framed(text: str) -> bytes:
    return b"".join(b"%08x %b\n" % (crc32(line), line) for line in lines(text))


def make(directory: Path) -> None:
    journal = directory / RUN / "journal"
    (journal / "main0001").mkdir(parents=True)
    (journal / "child001").mkdir()
    plain = b"".join(line + b"\n" for line in lines(SEALED))
    compressor = zstandard.ZstdCompressor(level=9, write_checksum=True, write_content_size=True)
    (journal / "main0001" / "000001.jsonl.zst").write_bytes(compressor.compress(plain))
    (journal / "main0001" / "000002.jsonl").write_bytes(framed(HOT))
    (journal / "child001" / "000001.jsonl").write_bytes(framed(CHILD) + TORN)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
