{{ base_records('callrail', 'text_messages', {
    'conversation_id':  ['id', 'text', 'required'],
    'last_message_at':  ['last_message_at', 'timestamp', 'required'],
    'company_id':       ['company_id', 'text'],
    'tracker_id':       ['current_tracker_id|initial_tracker_id', 'text'],
    'customer_name':    ['customer_name', 'text'],
    'customer_phone':   ['customer_phone_number', 'text'],
    'tracking_number':  ['current_tracking_number|initial_tracking_number', 'text'],
    'state':            ['state', 'text'],
    'lead_status':      ['lead_status', 'text'],
    'source_name':      ['source', 'text'],
    'messages':         ['messages|recent_messages', 'json'],
}) }}
