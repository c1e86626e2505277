{{ base_records('hubspot', 'pipelines', {
    'pipeline_id':   ['id', 'text', 'required'],
    'label':         ['label', 'text'],
    'display_order': ['displayOrder', 'integer'],
    'is_archived':   ['archived', 'boolean'],
    'stages':        ['stages', 'json'],
}) }}
