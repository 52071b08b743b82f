BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE alert_acknowledgements (
	alert_id VARCHAR(64) NOT NULL, 
	appid VARCHAR(64) NOT NULL, 
	who VARCHAR(254) NOT NULL, 
	at_ms BIGINT NOT NULL, 
	PRIMARY KEY (alert_id)
);
CREATE TABLE api_keys (
	key_id VARCHAR(8) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	scopes JSON NOT NULL, 
	apps JSON NOT NULL, 
	events_per_s INTEGER, 
	created_at_ms BIGINT NOT NULL, 
	expires_at_ms BIGINT, 
	revoked_at_ms BIGINT, 
	PRIMARY KEY (key_id), 
	UNIQUE (digest)
);
INSERT INTO "api_keys" VALUES('404f169b','till','cfb1068874259449c736f3396f117c879411f8dc10d13a4e241e1498762b069a','["emit"]','[]',NULL,1796120328366,NULL,NULL);
CREATE TABLE audit_trail (
	entry_id INTEGER NOT NULL, 
	at_ms BIGINT NOT NULL, 
	owner_id VARCHAR(16), 
	who VARCHAR(254) NOT NULL, 
	what VARCHAR(32) NOT NULL, 
	subject VARCHAR(254) NOT NULL, 
	PRIMARY KEY (entry_id)
);
INSERT INTO "audit_trail" VALUES(1,1796120397141,'8fa16c420c751a30','phonemeter','owner_added','东城');
INSERT INTO "audit_trail" VALUES(2,1796120397144,'8fa16c420c751a30','phonemeter','apps_changed','+wx0123456789abcdef');
CREATE TABLE guide_ticks (
	owner_id VARCHAR(16) NOT NULL, 
	appid VARCHAR(64) NOT NULL, 
	step VARCHAR(16) NOT NULL, 
	who VARCHAR(254) NOT NULL, 
	at_ms BIGINT NOT NULL, 
	PRIMARY KEY (owner_id, appid, step), 
	FOREIGN KEY(owner_id) REFERENCES owners (owner_id)
);
CREATE TABLE holds (
	hold_id VARCHAR(32) NOT NULL, 
	appid VARCHAR(64) NOT NULL, 
	capability VARCHAR(16) NOT NULL, 
	store VARCHAR(64) NOT NULL, 
	granted_at_ms BIGINT NOT NULL, 
	expires_at_ms BIGINT NOT NULL, 
	ends_at_ms BIGINT NOT NULL, 
	repeat VARCHAR(64), 
	event_id VARCHAR(128), 
	seen_offset BIGINT, 
	PRIMARY KEY (hold_id), 
	UNIQUE (repeat)
);
CREATE TABLE invoice_orders (
	invoice_id VARCHAR(21) NOT NULL, 
	order_id VARCHAR(21) NOT NULL, 
	is_valid BOOLEAN NOT NULL, 
	PRIMARY KEY (invoice_id, order_id), 
	FOREIGN KEY(invoice_id) REFERENCES invoices (invoice_id), 
	FOREIGN KEY(order_id) REFERENCES orders (order_id)
);
CREATE TABLE invoice_titles (
	title_id VARCHAR(16) NOT NULL, 
	owner_id VARCHAR(16) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	tax_number VARCHAR(18) NOT NULL, 
	created_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (title_id), 
	FOREIGN KEY(owner_id) REFERENCES owners (owner_id)
);
CREATE TABLE invoices (
	invoice_id VARCHAR(21) NOT NULL, 
	owner_id VARCHAR(16) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	tax_number VARCHAR(18) NOT NULL, 
	month VARCHAR(7) NOT NULL, 
	amount_micro_yuan BIGINT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	applied_at_ms BIGINT NOT NULL, 
	applied_by VARCHAR(254) NOT NULL, 
	decided_at_ms BIGINT, 
	decided_by VARCHAR(254), 
	decision_reason VARCHAR(200), 
	voided_at_ms BIGINT, 
	voided_by VARCHAR(254), 
	void_reason VARCHAR(200), 
	PRIMARY KEY (invoice_id), 
	FOREIGN KEY(owner_id) REFERENCES owners (owner_id)
);
CREATE TABLE members (
	member_id VARCHAR(16) NOT NULL, 
	email VARCHAR(254) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	password_hash VARCHAR(256), 
	created_at_ms BIGINT NOT NULL, 
	disabled_at_ms BIGINT, 
	PRIMARY KEY (member_id), 
	UNIQUE (email)
);
CREATE TABLE memberships (
	member_id VARCHAR(16) NOT NULL, 
	owner_id VARCHAR(16) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	added_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (member_id, owner_id), 
	FOREIGN KEY(member_id) REFERENCES members (member_id), 
	FOREIGN KEY(owner_id) REFERENCES owners (owner_id)
);
CREATE TABLE order_steps (
	step_id INTEGER NOT NULL, 
	order_id VARCHAR(21) NOT NULL, 
	at_ms BIGINT NOT NULL, 
	who VARCHAR(254) NOT NULL, 
	what VARCHAR(32) NOT NULL, 
	details VARCHAR(254) NOT NULL, 
	PRIMARY KEY (step_id), 
	FOREIGN KEY(order_id) REFERENCES orders (order_id)
);
CREATE TABLE orders (
	order_id VARCHAR(21) NOT NULL, 
	owner_id VARCHAR(16) NOT NULL, 
	appid VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	capability VARCHAR(16) NOT NULL, 
	calls BIGINT NOT NULL, 
	validity_days INTEGER NOT NULL, 
	price_micro_yuan BIGINT NOT NULL, 
	list_price_micro_yuan BIGINT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	version INTEGER NOT NULL, 
	once VARCHAR(80), 
	created_by VARCHAR(254) NOT NULL, 
	created_at_ms BIGINT NOT NULL, 
	expires_at_ms BIGINT NOT NULL, 
	terms VARCHAR(32), 
	terms_at_ms BIGINT, 
	provider VARCHAR(16), 
	offer_kind VARCHAR(16), 
	offer_text TEXT, 
	paid_at_ms BIGINT, 
	pack_id VARCHAR(128), 
	refund_asked_at_ms BIGINT, 
	refund_refusal VARCHAR(32), 
	PRIMARY KEY (order_id), 
	FOREIGN KEY(owner_id) REFERENCES owners (owner_id), 
	UNIQUE (once)
);
CREATE TABLE outbox (
	place INTEGER NOT NULL, 
	event_id VARCHAR(128) NOT NULL, 
	owner_id VARCHAR(16) NOT NULL, 
	appid VARCHAR(64) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	order_id VARCHAR(21), 
	event TEXT NOT NULL, 
	created_at_ms BIGINT NOT NULL, 
	published_at_ms BIGINT, 
	trouble VARCHAR(254) NOT NULL, 
	PRIMARY KEY (place), 
	UNIQUE (event_id)
);
CREATE TABLE owner_apps (
	appid VARCHAR(64) NOT NULL, 
	owner_id VARCHAR(16) NOT NULL, 
	added_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (appid), 
	FOREIGN KEY(owner_id) REFERENCES owners (owner_id)
);
INSERT INTO "owner_apps" VALUES('wx0123456789abcdef','8fa16c420c751a30',1796120397143);
CREATE TABLE owners (
	owner_id VARCHAR(16) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	created_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (owner_id), 
	UNIQUE (name)
);
INSERT INTO "owners" VALUES('8fa16c420c751a30','东城',1796120397128);
CREATE TABLE password_links (
	member_id VARCHAR(16) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	expires_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (member_id), 
	FOREIGN KEY(member_id) REFERENCES members (member_id), 
	UNIQUE (digest)
);
CREATE TABLE payments (
	payment_id INTEGER NOT NULL, 
	order_id VARCHAR(21) NOT NULL, 
	provider VARCHAR(16) NOT NULL, 
	transaction_id VARCHAR(64) NOT NULL, 
	amount_micro_yuan BIGINT NOT NULL, 
	paid_at_ms BIGINT NOT NULL, 
	noted_at_ms BIGINT NOT NULL, 
	noted_by VARCHAR(254) NOT NULL, 
	outcome VARCHAR(16) NOT NULL, 
	return_state VARCHAR(16), 
	returned_at_ms BIGINT, 
	PRIMARY KEY (payment_id), 
	CONSTRAINT one_payment_per_transaction UNIQUE (provider, transaction_id), 
	FOREIGN KEY(order_id) REFERENCES orders (order_id)
);
CREATE TABLE sessions (
	digest VARCHAR(64) NOT NULL, 
	member_id VARCHAR(16) NOT NULL, 
	owner_id VARCHAR(16) NOT NULL, 
	created_at_ms BIGINT NOT NULL, 
	seen_at_ms BIGINT NOT NULL, 
	expires_at_ms BIGINT NOT NULL, 
	PRIMARY KEY (digest), 
	FOREIGN KEY(member_id) REFERENCES members (member_id)
);
CREATE INDEX ix_api_keys_revoked_at_ms ON api_keys (revoked_at_ms);
CREATE INDEX ix_holds_appid ON holds (appid);
CREATE INDEX ix_holds_ends_at_ms ON holds (ends_at_ms);
CREATE INDEX ix_holds_event_id ON holds (event_id);
CREATE INDEX ix_owner_apps_owner_id ON owner_apps (owner_id);
CREATE INDEX ix_memberships_owner_id ON memberships (owner_id);
CREATE INDEX ix_sessions_member_id ON sessions (member_id);
CREATE INDEX ix_sessions_expires_at_ms ON sessions (expires_at_ms);
CREATE INDEX ix_audit_trail_owner_id ON audit_trail (owner_id);
CREATE INDEX ix_orders_appid ON orders (appid);
CREATE INDEX ix_orders_state ON orders (state);
CREATE INDEX ix_orders_expires_at_ms ON orders (expires_at_ms);
CREATE INDEX ix_orders_owner_id ON orders (owner_id);
CREATE INDEX ix_orders_pack_id ON orders (pack_id);
CREATE INDEX ix_payments_order_id ON payments (order_id);
CREATE INDEX ix_payments_return_state ON payments (return_state);
CREATE INDEX ix_order_steps_order_id ON order_steps (order_id);
CREATE INDEX outbox_by_app ON outbox (appid, kind);
CREATE INDEX ix_outbox_published_at_ms ON outbox (published_at_ms);
CREATE INDEX ix_invoice_titles_owner_id ON invoice_titles (owner_id);
CREATE INDEX ix_invoices_owner_id ON invoices (owner_id);
CREATE INDEX ix_invoices_state ON invoices (state);
CREATE UNIQUE INDEX one_valid_invoice_per_order ON invoice_orders (order_id) WHERE is_valid;
COMMIT;
