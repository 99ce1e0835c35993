"""The classes of items, read class by class from an index: the number of items does not matter."""

import sqlalchemy as sa

# Each step reads one row of the index, the first one of the next class.
LIST_CLASSES = """
WITH RECURSIVE found (class_name) AS (
    (SELECT class_name FROM training.item_classes ORDER BY class_name LIMIT 1)
    UNION ALL
    SELECT (SELECT item_classes.class_name FROM training.item_classes
            WHERE item_classes.class_name > found.class_name ORDER BY item_classes.class_name LIMIT 1)
    FROM found WHERE found.class_name IS NOT NULL
)
SELECT class_name, EXISTS (
    SELECT FROM training.item_classes
    WHERE item_classes.class_name = found.class_name AND item_classes.label_origin <> 'stated'
)
FROM found WHERE class_name IS NOT NULL
"""


def list_item_classes(connection: sa.Connection) -> dict[str, bool]:
    """Return each class of items, and whether anybody but a source has said so of an item."""
    return dict(connection.execute(sa.text(LIST_CLASSES)).tuples().all())
