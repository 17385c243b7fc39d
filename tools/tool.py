"""TEMPORARY by the founder: replace it."""
import asyncio, inspect, json, typing
from dataclasses import dataclass
from pydantic import create_model, ConfigDict, ValidationError
FIXED = "fixed"

@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    parameters: dict
    effect: str
    repeat: str
    returns: str
    private: bool
    timeout_seconds: float
    checker: typing.Any
    runner: typing.Any
    cache: bool = False
    def check(self, arguments): return self.checker(arguments)
    def call(self, arguments, context): return self.runner(arguments, context)
def make_tool(function, settings={}):
    meta=function.__muster_tool__; hints=typing.get_type_hints(function, include_extras=False); sig=inspect.signature(function)
    fields={n:(hints.get(n,str), ... if p.default is p.empty else p.default) for n,p in sig.parameters.items() if n not in ("context","idempotency_key") and n not in settings}
    model=create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    def check(a):
        try: model.model_validate(a); return []
        except ValidationError as e: return [f"{'.'.join(map(str,x['loc']))}: {x['msg']}" for x in e.errors()]
    def call(a, context):
        kw=dict(model.model_validate(a)); kw.update(settings)
        if "context" in sig.parameters: kw["context"]=context
        if "idempotency_key" in sig.parameters: kw["idempotency_key"]=context.idempotency_key
        r=function(**kw)
        if inspect.iscoroutine(r): r=asyncio.run(r)
        return r if isinstance(r,str) else json.dumps(r)
    s=model.model_json_schema()
    return Tool(function.__name__, inspect.getdoc(function) or "", {k:s[k] for k in ("type","properties","required") if k in s}, meta["effect"],meta["repeat"],meta["returns"],meta["private"],meta["timeout_seconds"],check,call, meta.get("cache",False))
def openai_schema(tool): return {"type":"function","function":{"name":tool.name,"description":tool.description,"parameters":tool.parameters}}
def shorten(text, limit, hint=""): return text[:limit]+f"\n[cut: {len(text)} characters, {hint}]"
def page(text,start,limit): return text[start:start+limit]
