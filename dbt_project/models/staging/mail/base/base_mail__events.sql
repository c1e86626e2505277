{{ base_records('mail', 'events', {
    'event':        ['event', 'text', 'required'],
    'happened_at':  ['at', 'timestamp', 'required'],
    'address':      ['address', 'text', 'required'],
    'message_id':   ['message_id', 'text'],
    'in_reply_to':  ['in_reply_to', 'text'],
    'subject':      ['subject', 'text'],
    'body':         ['text', 'text'],
    'status_code':  ['code', 'text'],
    'is_soft':      ['soft', 'boolean'],
    'is_automatic': ['automatic', 'boolean'],
}) }}
