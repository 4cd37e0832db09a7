#include "conf/conf_impl.h"

#define FIELD(type, field) \
	.offset = offsetof(type, field), .width_bytes = sizeof(((type *)0)->field)

static const struct conf_choice idle_choices[] = {{"sleep", 0}, {"poll", 1}, {NULL, 0}};

/* enum aead_backend, which lives on a higher floor. */
static const struct conf_choice aead_choices[] = {
	{"auto", 0}, {"ipsec-mb", 1}, {"openssl", 2}, {"lanes", 3}, {NULL, 0}};

static const struct conf_choice level_choices[] = {{"error", LOG_LEVEL_ERROR},
	{"warn", LOG_LEVEL_WARN}, {"info", LOG_LEVEL_INFO}, {"debug", LOG_LEVEL_DEBUG}, {NULL, 0}};

/* LEASE_PROTO_* bits */
static const struct conf_choice proto_choices[] = {{"tcp", 1}, {"udp", 2}, {"both", 3}, {NULL, 0}};

/* enum flow_filter, likewise. */
static const struct conf_choice filter_choices[] = {
	{"strict", 0}, {"moderate", 1}, {"open", 2}, {NULL, 0}};

static const struct conf_choice history_choices[] = {
	{"none", CONF_HISTORY_NONE}, {"full", CONF_HISTORY_FULL}, {NULL, 0}};

static const struct conf_key eal_keys[] = {
	{"lcores", CONF_CUSTOM, .required = true, .min = 2, .max = CONF_WORKERS_MAX + 1,
		.takes = "2 to 65 CPU numbers, as [0, 1]: one for the control thread, then one for "
			 "each worker",
		.read = conf_read_lcores},
	{"huge", CONF_BOOL, .inverted = true, FIELD(struct conf, no_huge), .def = "true"},
	{"memory_mb", CONF_INT, FIELD(struct conf, memory_mb), .min = 64, .max = 1048576,
		.def = "1024"},
	{"mbufs", CONF_INT, FIELD(struct conf, n_mbufs), .min = 1024, .max = 16777216,
		.def = "65536"},
	{"telemetry", CONF_BOOL, FIELD(struct conf, telemetry), .def = "false"},
	{"args", CONF_TEXTS, .min = 0, .max = CONF_EAL_ARGS_MAX,
		.takes = "an EAL option of 1 to 255 printable characters that is not one of -l, "
			 "-c, -m, --lcores and --no-huge, which other keys set",
		.parse = conf_parse_eal_arg},
	{0},
};

static const struct conf_key workers_keys[] = {
	{"idle", CONF_CHOICE, FIELD(struct conf, poll_always), .choices = idle_choices,
		.def = "sleep"},
	{"max_sleep_us", CONF_INT, FIELD(struct conf, max_sleep_us), .min = 1, .max = 10000,
		.def = "250"},
	{"aead", CONF_CHOICE, FIELD(struct conf, aead_backend), .choices = aead_choices,
		.def = "auto"},
	{0},
};

const struct conf_key conf_port_keys[] = {
	{"name", CONF_TEXT, .required = true, FIELD(struct conf_port, name),
		.takes = "1 to 31 letters, digits and any of . _ @ -", .parse = conf_parse_name},
	{"device", CONF_TEXT, .required = true, FIELD(struct conf_port, device),
		.takes = "a PCI address, as 0000:01:00.0, or a DPDK virtual device with its "
			 "arguments, as net_af_packet0,iface=eth0, in at most 255 characters",
		.parse = conf_parse_device},
	{"roles", CONF_TEXTS, .required = true, .min = 1, .max = 2,
		.takes = "\"tunnel\" or \"public\"", .parse = conf_parse_role},
	{"addresses", CONF_TEXTS, .required = true, .min = 1, .max = CONF_IFADDRS_MAX,
		.takes = "an address with the prefix length of its link, as 192.0.2.1/24",
		.parse = conf_parse_ifaddr},
	{"gateways", CONF_TEXTS, .min = 0, .max = 2,
		.takes = "an address without a prefix length, at most one of IPv4 and one of IPv6",
		.parse = conf_parse_gateway},
	{"mtu", CONF_INT, FIELD(struct conf_port, mtu_bytes), .min = 1280, .max = 1500,
		.def = "1500"},
	{"rx_queues", CONF_INT, FIELD(struct conf_port, n_rx_queues), .min = 0,
		.max = CONF_WORKERS_MAX, .def = "0"},
	{"rx_ring", CONF_INT, FIELD(struct conf_port, rx_ring_pkts), .min = 64, .max = 32768,
		.def = "1024"},
	{"tx_ring", CONF_INT, FIELD(struct conf_port, tx_ring_pkts), .min = 64, .max = 32768,
		.def = "1024"},
	{"answer_ping", CONF_BOOL, FIELD(struct conf_port, answer_ping), .def = "true"},
	{0},
};

/* None may be longer than the protocol has it: a key would live longer than its users think. */
static const struct conf_key timers_keys[] = {
	{"rekey_after", CONF_DURATION, FIELD(struct conf, rekey_after_ns), .min_text = "100ms",
		.max_text = "120s", .def = "120s"},
	{"reject_after", CONF_DURATION, FIELD(struct conf, reject_after_ns), .min_text = "100ms",
		.max_text = "180s", .def = "180s"},
	{"rekey_attempt", CONF_DURATION, FIELD(struct conf, rekey_attempt_ns), .min_text = "100ms",
		.max_text = "90s", .def = "90s"},
	{"rekey_timeout", CONF_DURATION, FIELD(struct conf, rekey_timeout_ns), .min_text = "10ms",
		.max_text = "5s", .def = "5s"},
	{"keepalive", CONF_DURATION, FIELD(struct conf, keepalive_ns), .min_text = "10ms",
		.max_text = "10s", .def = "10s"},
	{0},
};

static const struct conf_key tunnel_keys[] = {
	{"private_key_file", CONF_CUSTOM, .required = true, FIELD(struct conf, private_key_file),
		.takes = "the path, in at most 255 characters, of a file that holds one key, as "
			 "\"wg genkey\" writes it",
		.read = conf_read_private_key},
	{"listen_port", CONF_INT, FIELD(struct conf, listen_port), .min = 1, .max = 65535,
		.def = "51820"},
	{"inner_addresses", CONF_TEXTS, .required = true, .min = 1, .max = 4,
		.takes = "an address without a prefix length, as 100.64.0.1",
		.parse = conf_parse_inner_addr},
	{"max_peers", CONF_INT, FIELD(struct conf, max_peers), .min = 1, .max = 1048576,
		.def = "10000"},
	{"inner_mtu", CONF_INT, FIELD(struct conf, inner_mtu_bytes), .min = 576, .max = 1440,
		.def = "1420"},
	{"mss_clamp", CONF_BOOL, FIELD(struct conf, mss_clamp), .def = "true"},
	{"peer_to_peer", CONF_BOOL, FIELD(struct conf, peer_to_peer), .def = "false"},
	{"handshake_queue", CONF_INT, FIELD(struct conf, handshake_queue), .min = 8, .max = 65536,
		.def = "4096"},
	{"timers", CONF_GROUP, .sub = timers_keys},
	{0},
};

static const struct conf_key public_keys[] = {
	{"pool", CONF_TEXTS, .required = true, .min = 1, .max = CONF_POOL_MAX,
		.takes = "an IPv4 prefix without host bits, as 198.51.100.0/28",
		.parse = conf_parse_pool},
	{"dedicated", CONF_TEXTS, .min = 0, .max = CONF_POOL_MAX,
		.takes = "an IPv4 prefix without host bits, as 198.51.100.0/28",
		.parse = conf_parse_dedicated},
	{0},
};

/* Shorter ones than the RFCs ask for are for tests on accelerated time. */
static const struct conf_key nat_timers_keys[] = {
	{"udp", CONF_DURATION, FIELD(struct conf, nat_udp_ns), .min_text = "100ms",
		.max_text = "24h", .def = "300s"},
	{"tcp_established", CONF_DURATION, FIELD(struct conf, nat_tcp_established_ns),
		.min_text = "100ms", .max_text = "7d", .def = "7440s"},
	{"tcp_transitory", CONF_DURATION, FIELD(struct conf, nat_tcp_transitory_ns),
		.min_text = "100ms", .max_text = "24h", .def = "240s"},
	{"icmp", CONF_DURATION, FIELD(struct conf, nat_icmp_ns), .min_text = "100ms",
		.max_text = "24h", .def = "60s"},
	{"rest", CONF_DURATION, FIELD(struct conf, nat_rest_ns), .min_text = "100ms",
		.max_text = "24h", .def = "120s"},
	{"fragment", CONF_DURATION, FIELD(struct conf, nat_fragment_ns), .min_text = "100ms",
		.max_text = "60s", .def = "2s"},
	{0},
};

static const struct conf_key nat_keys[] = {
	{"pool", CONF_TEXTS, .min = 0, .max = CONF_POOL_MAX,
		.takes = "an IPv4 prefix without host bits, as 198.51.100.0/28",
		.parse = conf_parse_nat_pool},
	{"ports", CONF_TEXT, .def = "1024-19999",
		.takes = "FIRST-LAST, as 1024-19999, with 1024 <= FIRST <= LAST <= 65535",
		.parse = conf_parse_nat_ports},
	{"block_ports", CONF_INT, FIELD(struct conf, nat_block_ports), .min = 64, .max = 4096,
		.def = "256"},
	{"max_blocks", CONF_INT, FIELD(struct conf, nat_max_blocks), .min = 1, .max = 16,
		.def = "8"},
	{"max_sessions", CONF_INT, FIELD(struct conf, nat_max_sessions), .min = 1024,
		.max = 16777216, .def = "131072"},
	{"sessions_per_peer", CONF_INT, FIELD(struct conf, nat_sessions_per_peer), .min = 1,
		.max = 16777216, .def = "2048"},
	{"new_sessions_per_s", CONF_INT, FIELD(struct conf, nat_new_per_s), .min = 1,
		.max = 1000000, .def = "500"},
	{"filter", CONF_CHOICE, FIELD(struct conf, nat_filter), .choices = filter_choices,
		.def = "strict"},
	{"timers", CONF_GROUP, .sub = nat_timers_keys},
	{"exempt", CONF_TEXTS, .min = 0, .max = CONF_EXEMPT_MAX,
		.takes = "an IPv4 prefix without host bits, as 203.0.113.0/24",
		.parse = conf_parse_exempt},
	{"blocked", CONF_TEXTS, .min = 0, .max = CONF_BLOCKED_MAX,
		.takes = "tcp, udp or both, and a port, as \"tcp/25\"",
		.parse = conf_parse_blocked},
	{0},
};

static const struct conf_key leases_keys[] = {
	{"ports", CONF_TEXT, .def = "20000-59999",
		.takes = "FIRST-LAST, as 20000-59999, with 1024 <= FIRST <= LAST <= 65535",
		.parse = conf_parse_lease_ports},
	{"deny", CONF_TEXTS, .min = 0, .max = CONF_DENY_MAX,
		.takes = "a port, as 25565, or a range of ports, as 27000-27100",
		.parse = conf_parse_deny},
	{"default_ttl", CONF_DURATION, .live = true, FIELD(struct conf, default_ttl_ns),
		.min_text = "1s", .max_text = "365d", .def = "1h"},
	{"max_ttl", CONF_DURATION, .live = true, FIELD(struct conf, max_ttl_ns), .min_text = "1s",
		.max_text = "365d", .def = "24h"},
	{"max_age", CONF_DURATION, FIELD(struct conf, max_age_ns), .min_text = "0s",
		.max_text = "365d", .def = "0s"},
	{"reserve", CONF_DURATION, FIELD(struct conf, reserve_ns), .min_text = "0s",
		.max_text = "365d", .def = "24h"},
	{"quarantine", CONF_DURATION, .live = true, FIELD(struct conf, quarantine_ns),
		.min_text = "1s", .max_text = "7d", .def = "120s"},
	{"heartbeat", CONF_DURATION, .live = true, FIELD(struct conf, heartbeat_ns),
		.min_text = "0s", .max_text = "10m", .def = "25s"},
	{"max_pps", CONF_INT, .live = true, FIELD(struct conf, lease_max_pps), .min = 0,
		.max = 10000000, .def = "0"},
	{"max_new_flows", CONF_INT, .live = true, FIELD(struct conf, lease_max_new_flows), .min = 0,
		.max = 10000000, .def = "0"},
	{"max", CONF_INT, FIELD(struct conf, max_leases), .min = 1, .max = 4194304,
		.def = "100000"},
	{"max_per_peer", CONF_INT, .live = true, FIELD(struct conf, max_leases_per_peer), .min = 0,
		.max = 65535, .def = "16"},
	{0},
};

static const struct conf_key portmap_keys[] = {
	{"pcp_nonce_strict", CONF_BOOL, FIELD(struct conf, pcp_nonce_strict), .def = "false"},
	{0},
};

static const struct conf_key store_keys[] = {
	{"path", CONF_TEXT, FIELD(struct conf, store_path),
		.takes = "an absolute path of at most 255 characters",
		.parse = conf_parse_store_path},
	{0},
};

static const struct conf_key history_keys[] = {
	{"mode", CONF_CHOICE, .live = true, FIELD(struct conf, history_mode),
		.choices = history_choices, .def = "none"},
	{"retention", CONF_DURATION, .live = true, FIELD(struct conf, history_retention_ns),
		.min_text = "1m", .max_text = "3650d", .def = "30d"},
	{0},
};

static const struct conf_key control_keys[] = {
	{"socket", CONF_TEXT, FIELD(struct conf, socket_path), .def = "/run/portier/control.sock",
		.takes = "an absolute path of at most 107 characters", .parse = conf_parse_socket},
	{"group", CONF_TEXT, FIELD(struct conf, socket_group), .def = "portier",
		.takes = "1 to 31 letters, digits and any of . _ @ -", .parse = conf_parse_name},
	{"uapi_name", CONF_TEXT, FIELD(struct conf, uapi_name), .def = "portier0",
		.takes = "up to 15 letters, digits and any of . _ @ -, beginning with a letter, or "
			 "an empty text",
		.parse = conf_parse_uapi_name},
	{"log_level", CONF_CHOICE, .live = true, FIELD(struct conf, log_level),
		.choices = level_choices, .def = "info"},
	{"drops_kept", CONF_DURATION, FIELD(struct conf, drops_kept_ns), .min_text = "0s",
		.max_text = "1h", .def = "10m"},
	{0},
};

static const struct conf_key metrics_keys[] = {
	{"listen", CONF_TEXT, FIELD(struct conf, metrics_listen),
		.takes = "an address of this host and a TCP port, as 127.0.0.1:9464 or [::1]:9464",
		.parse = conf_parse_metrics_listen},
	{0},
};

static const struct conf_key testing_keys[] = {
	{"home_shift", CONF_INT, FIELD(struct conf, home_shift), .min = 0,
		.max = CONF_WORKERS_MAX - 1, .def = "0"},
	{0},
};

const struct conf_key conf_peer_keys[] = {
	{"name", CONF_TEXT, FIELD(struct conf_peer, name),
		.takes = "1 to 31 letters, digits and any of . _ @ -", .parse = conf_parse_name},
	{"public_key", CONF_TEXT, .required = true, .hidden = true,
		FIELD(struct conf_peer, public_key),
		.takes = "44 characters of base64, as \"wg pubkey\" prints them",
		.parse = conf_parse_public_key},
	{"preshared_key_file", CONF_CUSTOM, FIELD(struct conf_peer, preshared_key),
		.takes = "the path, in at most 255 characters, of a file that holds one key, as "
			 "\"wg genpsk\" writes it",
		.read = conf_read_preshared_key},
	{"address", CONF_TEXT, .required = true,
		.takes = "an inner address without a prefix length, or one of IPv4 and one of IPv6 "
			 "with a comma between them, as 100.64.0.2,fd00::2",
		.parse = conf_parse_peer_address},
	{"endpoint", CONF_TEXT, FIELD(struct conf_peer, endpoint),
		.takes = "an address and a port, as 203.0.113.9:51820 or [2001:db8::9]:51820",
		.parse = conf_parse_endpoint},
	{"forwarding", CONF_BOOL, FIELD(struct conf_peer, forwarding), .def = "false"},
	{"portmap", CONF_BOOL, FIELD(struct conf_peer, portmap), .def = "false"},
	{"max_leases", CONF_INT, FIELD(struct conf_peer, max_leases), .min = 0, .max = 65535,
		.def = "leases.max_per_peer", .preset = true},
	{"filter", CONF_CHOICE, FIELD(struct conf_peer, filter), .choices = filter_choices,
		.def = "nat.filter", .preset = true},
	{"max_sessions", CONF_INT, FIELD(struct conf_peer, max_sessions), .min = 1, .max = 16777216,
		.def = "nat.sessions_per_peer", .preset = true},
	{"routes", CONF_TEXTS, .min = 0, .max = CONF_ROUTES_MAX,
		.takes = "an IPv6 prefix of 48 to 128 bits out of 2000::/3 or fc00::/7, as "
			 "2001:db8:2::/64",
		.parse = conf_parse_route},
	{"persistent_keepalive_s", CONF_INT, FIELD(struct conf_peer, persistent_keepalive_s),
		.min = 0, .max = 65535, .def = "0"},
	{"leases", CONF_CUSTOM, .takes = "a list of groups, ( { ... }, { ... } )",
		.read = conf_read_peer_leases},
	{0},
};

const struct conf_key conf_lease_keys[] = {
	{"proto", CONF_CHOICE, FIELD(struct conf_lease, protos), .choices = proto_choices,
		.def = "both"},
	{"public_address", CONF_TEXT, FIELD(struct conf_lease, public_addr),
		.takes = "an address of public.pool, as 198.51.100.5",
		.parse = conf_parse_public_addr},
	{"public_port", CONF_INT, FIELD(struct conf_lease, public_port), .min = 1024, .max = 65535},
	{"to_address", CONF_TEXT, FIELD(struct conf_lease, inner_addr),
		.takes = "an inner address of the peer, as 100.64.0.2 or fd00::2",
		.parse = conf_parse_to_addr},
	{"to_port", CONF_INT, .required = true, FIELD(struct conf_lease, inner_port), .min = 1,
		.max = 65535},
	{"ports", CONF_INT, FIELD(struct conf_lease, n_ports), .min = 1, .max = 1024, .def = "1"},
	{"from", CONF_TEXTS, .min = 0, .max = CONF_SOURCES_MAX,
		.takes = "an address or a prefix without host bits, as 203.0.113.0/24",
		.parse = conf_parse_source},
	{"max_pps", CONF_INT, FIELD(struct conf_lease, max_pps), .min = 0, .max = 10000000,
		.def = "leases.max_pps", .preset = true},
	{"max_new_flows", CONF_INT, FIELD(struct conf_lease, max_new_flows), .min = 0,
		.max = 10000000, .def = "leases.max_new_flows", .preset = true},
	{"label", CONF_TEXT, FIELD(struct conf_lease, label),
		.takes = "1 to 63 printable ASCII characters", .parse = conf_parse_label},
	{0},
};

/* Groups before peers: presets of a peer come from them. */
const struct conf_key conf_root_keys[] = {
	{"eal", CONF_GROUP, .sub = eal_keys},
	{"workers", CONF_GROUP, .sub = workers_keys},
	{"ports", CONF_CUSTOM, .required = true, .min = 1, .max = CONF_PORTS_MAX,
		.takes = "a list of 1 to 8 groups, ( { ... }, { ... } )", .read = conf_read_ports},
	{"tunnel", CONF_GROUP, .sub = tunnel_keys},
	{"public", CONF_GROUP, .sub = public_keys},
	{"nat", CONF_GROUP, .sub = nat_keys},
	{"leases", CONF_GROUP, .sub = leases_keys},
	{"portmap", CONF_GROUP, .sub = portmap_keys},
	{"store", CONF_GROUP, .sub = store_keys},
	{"history", CONF_GROUP, .sub = history_keys},
	{"control", CONF_GROUP, .sub = control_keys},
	{"metrics", CONF_GROUP, .sub = metrics_keys},
	{"testing", CONF_GROUP, .sub = testing_keys},
	{"peers", CONF_CUSTOM, .takes = "a list of groups, ( { ... }, { ... } )",
		.read = conf_read_peers},
	{0},
};
