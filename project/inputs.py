"""TEMPORARY by the founder: replace it."""
from project.fill import placeholders
from project.spec import InputSpec
from project.errors import AppError
from pathlib import Path
def crew_inputs(project, crew):
    c=project.crews[crew]; out=dict(c.inputs)
    for t in c.tasks:
        for text in (project.tasks[t].description, project.tasks[t].expected_output):
            for p in placeholders(text): out.setdefault(p, InputSpec())
    return out
def read_inputs(project, crew, given, cwd):
    out={}
    for k,s in crew_inputs(project,crew).items():
        v=given.get(k, s.default)
        if v is None: raise AppError(f"input {k!r} is missing", exit_code=3)
        if s.type=="folder": v=str((Path(cwd) if k in given else project.root)/v)
        if s.type=="integer": v=int(v)
        out[k]=v
    return out
