{{ base_records('thumbtack', 'reviews', {
    'review_id':      ['reviewID|review.reviewID', 'text', 'required'],
    'lead_id':        ['negotiationID|review.leadID', 'text'],
    'business_id':    ['businessID|business.businessID|review.businessID', 'text'],
    'rating':         ['rating|review.rating', 'integer'],
    'text':           ['text|review.text', 'text'],
    'reviewer_name':  ['reviewerName|reviewerNickname|review.reviewerName|review.reviewerNickname', 'text'],
    'created_at_iso': ['createTime|createdAt', 'timestamp'],
    'created_at_ms':  ['review.createTime', 'timestamp_ms'],
    'modified_at_ms': ['review.modifyTime', 'timestamp_ms'],
}) }}
