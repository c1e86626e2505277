{{ base_records('thumbtack', 'lead_updates', {
    'lead_id':          ['leadID', 'text', 'required'],
    'charge_state':     ['chargeState', 'text'],
    'lead_price_cents': ['leadPrice', 'money'],
}) }}
