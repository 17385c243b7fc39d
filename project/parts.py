"""What is read of a project, with its places: what the checks across files work on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from project.errors import Where
from project.reader import Node
from project.spec import AgentSpec, CrewSpec, FieldSpec, TaskSpec


@dataclass(frozen=True)
class Parts:
    """Specs and the trees that they were read from; without a tree, crews are implied."""

    agents: Mapping[str, AgentSpec]
    tasks: Mapping[str, TaskSpec]
    crews: Mapping[str, CrewSpec]
    trees: Mapping[str, Node] = field(default_factory=dict[str, Node])
    """By file name, such as `tasks.yaml`."""
    contracts: Mapping[str, Mapping[str, FieldSpec]] = field(default_factory=dict[str, Mapping[str, FieldSpec]])
    crews_known: bool = True
    """Whether every crew could be read."""

    @property
    def implied(self) -> bool:
        """Whether there is no crews.yaml, so that all tasks are one crew."""
        return "crews.yaml" not in self.trees

    def node(self, file: str, entry: str, *keys: str) -> Node:
        """Return the value of a key, or the nearest thing around it that is written."""
        node = self.trees[file].entries[entry]
        for key in keys:
            node = node.entries.get(key, node)
        return node

    def tasks_of(self, crew: CrewSpec) -> Iterator[tuple[str, TaskSpec]]:
        """Yield the tasks of a crew that could be read, in order."""
        return ((name, self.tasks[name]) for name in crew.tasks if name in self.tasks)

    def contract(self, task: TaskSpec) -> Mapping[str, FieldSpec] | None:
        """Return the fields of a task's output, or None where it is one text or its contract is unknown."""
        return self.contracts.get(task.output) if isinstance(task.output, str) else task.output


def item_place(node: Node, value: str) -> Where:
    """Return the place of a value in a list, or of the list."""
    return next((item.here() for item in node.items if item.value == value), node.here())


def stage_node(crews: Node, name: str) -> Node:
    """Return the entry of `crews:` that names a crew of a pipeline, or the list."""
    for item in crews.items:
        if item.value == name or (item.is_mapping and "crew" in item.entries and item.entries["crew"].value == name):
            return item
    return crews
