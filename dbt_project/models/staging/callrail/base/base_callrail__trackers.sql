{{ base_records('callrail', 'trackers', {
    'tracker_id':          ['id', 'text', 'required'],
    'tracker_name':        ['name', 'text'],
    'tracker_type':        ['type', 'text'],
    'status':              ['status', 'text'],
    'source_type':         ['source.type', 'text'],
    'company_id':          ['company.id', 'text'],
    'tracking_numbers':    ['tracking_numbers', 'json'],
    'destination_number':  ['destination_number|call_flow.destination_number', 'text'],
    'is_texting_on':       ['sms_enabled', 'boolean'],
    'created_at':          ['created_at', 'timestamp'],
    'disabled_at':         ['disabled_at', 'timestamp'],
}) }}
