"""TEMPORARY by the founder: replace it."""
import importlib, importlib.util, hashlib, functools
from pathlib import Path
from tools.tool import make_tool
def builtin_tools_folder(): return Path(__file__).parent
@functools.cache
def _load(path, digest):
    spec=importlib.util.spec_from_file_location(f"_muster_user_{path.stem}_{digest}", path); m=importlib.util.module_from_spec(spec); spec.loader.exec_module(m); return m
def _functions(folder, mark):
    out={}
    for p in sorted(folder.glob("*.py")) if folder.is_dir() else []:
        m=_load(p, hashlib.sha256(p.read_bytes()).hexdigest()[:8])
        out.update({n:f for n,f in vars(m).items() if hasattr(f,mark)})
    return out
def load_tools(root, uses):
    out={}
    user=_functions(Path(root)/"tools","__muster_tool__") if Path(root)/"tools"!=builtin_tools_folder() else {}
    for use in uses:
        if use.name in user: f=user[use.name]
        else: f=getattr(importlib.import_module(f"tools.{use.name}"),use.name)
        out[use.name]=make_tool(f,use.settings)
    return out
def load_guardrails(root): return _functions(Path(root)/"guardrails","__muster_guardrail__")
