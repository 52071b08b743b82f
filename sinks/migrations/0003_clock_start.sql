-- A further kind of line: the first clock tick of a partition. Whether now is the clock's or the events', the view
-- `clock` tells from it.
ALTER TABLE ledger COMMENT COLUMN kind 'What the line records: charge, trial_charge, free, exempt, uncovered, denied, failed, duplicate, rejection, trial_grant, purchase, purchase_refused, refund, refund_refused, lapse, registration, alerting_set, usage_observed, alert, recovery, clock_start'
