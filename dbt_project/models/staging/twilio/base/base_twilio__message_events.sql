{{ base_records('twilio', 'message_events', {
    'message_sid':           ['MessageSid|SmsSid|SmsMessageSid', 'text', 'required'],
    'status':                ['MessageStatus|SmsStatus', 'text', 'required'],
    'from_number':           ['From', 'text'],
    'to_number':             ['To', 'text'],
    'body':                  ['Body', 'text'],
    'opt_out_type':          ['OptOutType', 'text'],
    'error_code':            ['ErrorCode', 'integer'],
    'segment_count':         ['NumSegments', 'integer'],
    'media_count':           ['NumMedia', 'integer'],
    'messaging_service_sid': ['MessagingServiceSid', 'text'],
}) }}
