{{ base_records('thumbtack', 'messages', {
    'message_id':    ['messageID|message.messageID', 'text', 'required'],
    'lead_id':       ['negotiationID|leadID', 'text', 'required'],
    'sender':        ['from', 'text'],
    'customer_id':   ['customer.customerID|customerID', 'text'],
    'business_id':   ['business.businessID|businessID', 'text'],
    'text':          ['text|message.text', 'text'],
    'attachments':   ['attachments|message.attachments', 'json'],
    'sent_at_iso':   ['sentAt', 'timestamp'],
    'sent_at_epoch': ['message.createTimestamp', 'timestamp_s'],
}) }}
