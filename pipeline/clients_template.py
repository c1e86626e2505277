"""What `leadtrail clients init` writes."""

TEMPLATE = """\
# Who you serve, and how each client is connected.
#
# Secrets never stand here. Write ${A_NAME} and put the value in the environment, in the file that LEADTRAIL_SECRETS_FILE
# names (NAME=value lines, chmod 600), or in the encrypted store: leadtrail secrets set A_NAME
# To replace a webhook secret without losing a webhook, name the new one and the old one for a while: [${NEW}, ${OLD}]
#
# After a change: leadtrail check

clients:
  - client_id: ridgeline-plumbing        # lower-case; part of webhook URLs, so it never changes
    name: Ridgeline Plumbing
    timezone: America/Chicago            # the client's own; message hours and days follow it
    owner: dana@your-agency.example      # who in client success answers for this client
    joined_on: 2026-02-01                # reports compare before and after this day
    # follow_up:                           # what messages and tasks need; every line may be left out
    #   postal_address: 12 Main St, Austin, TX 78701     # under every e-mail; without it none goes out
    #   texting: approved                  # the 10DLC registration: unknown | pending | approved | rejected | withdrawn
    #   office_phone: (512) 555-0100
    #   booking_link: https://ridgelineplumbing.example/book
    #   review_link: https://g.page/r/ridgeline/review
    #   lead_owner: sam@ridgelineplumbing.example        # gets tasks about leads that nobody owns in the CRM
    #   backup_owner: lee@ridgelineplumbing.example      # asked when the owner does not answer
    #   agency_owner: lead@your-agency.example           # asked after that
    #   high_value_cents: 250000           # a lead worth this much is its owner's at once
    connections:

      # Leave out what the client does not use.
      callrail:
        account_id: ACC0123456789abcdef0123456789abcdef
        api_key: ${RIDGELINE_CALLRAIL_KEY}
        # company_ids: [COM0123456789abcdef0123456789abcdef]    # all companies the key sees, if left out
        # signing_key: ${RIDGELINE_CALLRAIL_SIGNING_KEY}        # for webhooks

      # hubspot:
      #   access_token: ${RIDGELINE_HUBSPOT_TOKEN}
      #   client_secret: ${RIDGELINE_HUBSPOT_SECRET}            # for webhooks

      # search_console:
      #   service_account: ${AGENCY_GOOGLE_KEY}                 # the whole JSON key, on one line
      #   site_urls: ["sc-domain:ridgelineplumbing.example"]

      # quickbooks:
      #   realm_id: "1234567890"
      #   client_id: ABcd...
      #   client_secret: ${AGENCY_INTUIT_SECRET}
      #   refresh_token: ${RIDGELINE_QUICKBOOKS_REFRESH}        # only the first; later ones are kept in the store
      #   webhook_token: ${AGENCY_INTUIT_VERIFIER}

      # thumbtack:
      #   webhook_user: leadtrail
      #   webhook_password: ${RIDGELINE_THUMBTACK_PASSWORD}
      #   business_ids: ["123456789012345678"]

      # angi:
      #   api_key: ${RIDGELINE_ANGI_KEY}
      #   sp_entity_ids: ["12345678"]

      # twilio:
      #   account_sid: AC0123456789abcdef0123456789abcdef
      #   auth_token: ${RIDGELINE_TWILIO_TOKEN}
      #   sms_numbers: ["+15125550100"]

      # forms:
      #   secret: ${RIDGELINE_FORM_SECRET}

      # mail:                                                   # what people answer to e-mail, and what comes back
      #   secret: ${RIDGELINE_MAIL_EVENTS_SECRET}

      # smtp:                                                   # to send e-mail; nothing is read
      #   host: smtp.mail-provider.example
      #   username: office@ridgelineplumbing.example
      #   password: ${RIDGELINE_MAIL_PASSWORD}
      #   from_address: office@ridgelineplumbing.example
"""
