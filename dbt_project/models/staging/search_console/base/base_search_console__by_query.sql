{{ base_records('search_console', 'by_query', {
    'site_url':    ['site_url', 'text', 'required'],
    'search_type': ['search_type', 'text', 'required'],
    'searched_on': ['date', 'date', 'required'],
    'is_final':    ['final', 'boolean', 'required'],
    'responses':   ['responses', 'json', 'required'],
}) }}
