{{ base_records('twilio', 'phone_numbers', {
    'phone_number_sid': ['sid', 'text', 'required'],
    'phone_number':     ['phone_number', 'text', 'required'],
    'friendly_name':    ['friendly_name', 'text'],
    'can_text':         ['capabilities.sms', 'boolean'],
    'can_send_media':   ['capabilities.mms', 'boolean'],
    'can_call':         ['capabilities.voice', 'boolean'],
    'created_at':       ['date_created', 'rfc2822'],
}) }}
