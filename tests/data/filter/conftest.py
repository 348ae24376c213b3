"""Real pairs as the stage `pairs` makes them, and tables of made-up ones."""

from pathlib import Path

import pyarrow as pa
import pytest

from codeblock.core.config.pairs import PairsConfig
from codeblock.core.schema import PAIRS
from codeblock.core.storage.tables import read_table
from codeblock.data.read.files import data_sets
from codeblock.data.read.stage import read_pairs


def pairs_table(rows):
    """A table of pairs from (instruction, response) or (instruction, response, quality); ids are 24 digits."""
    made = [
        {
            "id": f"{number:024d}",
            "messages": [{"role": "user", "content": row[0]}],
            "response": row[1],
            "source": f"made:{number}",
            "quality": row[2] if len(row) > 2 else None,
        }
        for number, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(made, schema=PAIRS)


@pytest.fixture(scope="session")
def read_real(real_data, tmp_path_factory):
    """Reads real pairs from a path below the folder of real data."""

    def read(path, **columns):
        output = tmp_path_factory.mktemp("pairs")
        config = PairsConfig(path=str(real_data / path), columns=columns)
        read_pairs(data_sets(config), config, output)
        return read_table(output)

    return read


@pytest.fixture(scope="session")
def codealpaca(read_real):
    """All usable rows of CodeAlpaca."""
    return read_real("pairs/codealpaca20k/codealpaca20k.jsonl.gz")


@pytest.fixture(name="pairs_table", scope="session")
def pairs_table_fixture():
    """The function that makes tables of pairs."""
    return pairs_table


@pytest.fixture
def stand_in(monkeypatch):
    """A local endpoint, and its key in the environment."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from stand_in import KEY, StandIn

    monkeypatch.setenv("RATING_KEY", KEY)
    server = StandIn()
    yield server
    server.shutdown()
    server.server_close()
