"""A project folder to try things in, and a runner of its runs. Also used by benchmarks."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from crews.plan import plan_crew
from crews.planned import Plan
from project.code import code_hashes
from project.inputs import read_inputs
from project.load import load_project
from project.settings import load_settings, make_state_folder
from project.spec import BudgetSpec

APPLICATION = Path(__file__).resolve().parent.parent
ONE_AGENT = {
    "agents": """
        worker: {role: Worker, goal: Do the work, backstory: You work.}
    """,
    "tasks": """
        work: {description: "@answer: done with {topic}", expected_output: A line., agent: worker}
    """,
}


class Lab:
    """A project folder under `root`. Files are given as YAML text; the runner is made when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._runner: Any = None

    def write(self, **files: str) -> None:
        """Write config files: `agents=...`, `tasks=...`, `crews=...`, `models=...`; other names are paths with `__`."""
        for name, text in files.items():
            path = self.root / (
                f"config/{name}.yaml" if "__" not in name else name.replace("__", "/").removesuffix("_py") + ".py"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")

    def allow_all(self) -> None:
        """Let agents do what they like, so that no test of other things is asked about it."""
        self.write(policy="defaults: {send: allow, spend: allow, execute: allow}\n")

    def models(self, base_url: str, **more: Any) -> None:
        """Make the scripted server the default model, without a price."""
        extra = "".join(f"  {key}: {value}\n" for key, value in more.items())
        self.write(models=f"default:\n  model: openai/scripted\n  base_url: {base_url}\n{extra}")

    def plan(
        self,
        crew: str = "default",
        inputs: Mapping[str, str] | None = None,
        *,
        model: str | None = None,
        budget: BudgetSpec | None = None,
    ) -> Plan:
        project = load_project(self.root, APPLICATION / "tools")
        values = read_inputs(project, crew, inputs or {}, self.root)
        environ = self.settings().environment
        code = code_hashes(self.root)
        return plan_crew(project, crew, values, environ, model=model, budget=budget, code=code)

    def settings(self) -> Any:
        return load_settings(self.root, os.environ)

    @property
    def runner(self) -> Any:
        """The runner; made on first use, since it imports CrewAI and launches DBOS."""
        if self._runner is None:
            from runs import quiet

            settings = self.settings()
            make_state_folder(settings)
            quiet.prepare(Path(tempfile.gettempdir()) / "muster-tests")
            from runs.executing.control import Runner

            self._runner = Runner(settings)
        return self._runner

    def start(self, plan: Plan, run_id: str | None = None, **more: Any) -> str:
        return self.runner.start(plan, run_id, **more)

    def run(
        self,
        crew: str = "default",
        inputs: Mapping[str, str] | None = None,
        *,
        run_id: str | None = None,
        ask: Callable[[Any], str] | None = None,
        **more: Any,
    ) -> Any:
        """Run a crew to its end; return the outcome."""
        run_id = self.start(self.plan(crew, inputs, **more), run_id, attended=ask is not None)
        return self.runner.wait(run_id, ask=ask)

    def resume(self, run_id: str, *, ask: Callable[[Any], str] | None = None, **more: Any) -> Any:
        """Resume a run to its end; return the outcome."""
        self.runner.resume(run_id, attended=ask is not None, **more)
        return self.runner.wait(run_id, ask=ask)

    def restart(self) -> None:
        """Close the runner, as at the end of a process; the next use makes another."""
        self.close()

    def summary(self, run_id: str) -> dict[str, Any]:
        from runs.told.report import summarise

        return summarise(self.runner.source(), self.runner.find(run_id), self.runner.folder(run_id))

    def steps(self, run_id: str) -> list[Any]:
        from runs.told.report import read_steps

        return read_steps(self.runner.source(), run_id, self.runner.folder(run_id))

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None
