//! The system that is simulated: a web shop.
//!
//! A gateway and a web frontend before services for the catalog, carts, orders and so on, their databases and caches,
//! two interfaces of other companies, and topics of Kafka that the services behind the shop work from.

use super::spec::Entry::{Consume, Grpc, Http};
use super::spec::Step::{Internal, One, Together};
use super::spec::{Api, Call, Operation, Service, Store, Visit, api, call, publish, query};

/// What visitors ask for.
pub(super) const VISITS: &[Visit] = &[
    Visit { service: "gateway", operation: "GET /", weight: 0.28 },
    Visit { service: "gateway", operation: "GET /products/{id}", weight: 0.36 },
    Visit { service: "gateway", operation: "GET /search", weight: 0.16 },
    Visit { service: "gateway", operation: "POST /cart/items", weight: 0.10 },
    Visit { service: "gateway", operation: "GET /cart", weight: 0.06 },
    Visit { service: "gateway", operation: "POST /checkout", weight: 0.04 },
];

/// Calls that no service makes, and one could come to make: caller and callee.
pub(super) const NEW_DEPENDENCIES: &[(&str, &str)] = &[
    ("recommendation", "inventory"),
    ("search", "pricing"),
    ("cart", "accounts"),
    ("checkout", "orders-cache"),
];

pub(super) const STORES: &[Store] = &[
    Store { name: "catalog-db", system: "postgresql", namespace: "catalog", port: 5432 },
    Store { name: "catalog-cache", system: "redis", namespace: "0", port: 6379 },
    Store { name: "search-index", system: "elasticsearch", namespace: "shop-search", port: 9200 },
    Store { name: "cart-cache", system: "redis", namespace: "0", port: 6379 },
    Store { name: "session-cache", system: "redis", namespace: "0", port: 6379 },
    Store { name: "accounts-db", system: "postgresql", namespace: "accounts", port: 5432 },
    Store { name: "orders-db", system: "postgresql", namespace: "orders", port: 5432 },
    Store { name: "orders-cache", system: "redis", namespace: "1", port: 6379 },
    Store { name: "payments-db", system: "postgresql", namespace: "payments", port: 5432 },
    Store { name: "inventory-db", system: "mysql", namespace: "inventory", port: 3306 },
    Store { name: "feature-store", system: "mongodb", namespace: "features", port: 27017 },
    Store { name: "shipping-db", system: "postgresql", namespace: "shipping", port: 5432 },
    Store { name: "warehouse", system: "clickhouse", namespace: "events", port: 9000 },
];

pub(super) const APIS: &[Api] = &[
    Api { name: "payment-provider", address: "api.payments.example", median_ms: 140.0, spread: 0.45 },
    Api { name: "parcel-carrier", address: "api.parcels.example", median_ms: 90.0, spread: 0.5 },
    Api { name: "mail-provider", address: "api.mail.example", median_ms: 60.0, spread: 0.4 },
];

const SESSION: Call = call("accounts", "shop.Accounts/GetSession");
const STOCK: Call = call("inventory", "shop.Inventory/GetStock");
const PRICE: Call = call("pricing", "GET /prices/{sku}");
const SUGGESTIONS: Call = call("recommendation", "GET /recommendations").optional();
const READ_CART: Call = query("cart-cache", "GET", "cart", "GET cart:?", 0.4);

pub(super) const SERVICES: &[Service] = &[
    Service {
        name: "gateway",
        language: "go",
        version: [3, 4, 1],
        instances: 3,
        memory_mib: 96,
        operations: &[
            entry("GET", "/", &[One(SESSION.in_share(0.6).optional()), One(call("web", "GET /"))]),
            entry(
                "GET",
                "/products/{id}",
                &[One(SESSION.in_share(0.6).optional()), One(call("web", "GET /products/{id}"))],
            ),
            entry("GET", "/search", &[One(call("web", "GET /search"))]),
            entry("POST", "/cart/items", &[One(SESSION), One(call("cart", "POST /cart/items"))]),
            entry("GET", "/cart", &[One(SESSION), One(call("cart", "GET /cart"))]),
            entry("POST", "/checkout", &[One(SESSION), One(call("checkout", "POST /orders"))]),
        ],
        idle_log: "reloaded {count} routes in {ms} ms",
        storm_log: "upstream connect error, reset before headers: peer {ip}:{count}",
    },
    Service {
        name: "web",
        language: "nodejs",
        version: [5, 12, 0],
        instances: 3,
        memory_mib: 310,
        operations: &[
            Operation {
                steps: &[
                    Together(&[
                        call("catalog", "shop.Catalog/ListProducts"),
                        SUGGESTIONS,
                        call("cart", "GET /cart").in_share(0.4).optional(),
                    ]),
                    Internal("render home", 4.0),
                ],
                ..http("GET", "/", 3.0)
            },
            Operation {
                steps: &[
                    One(call("catalog", "shop.Catalog/GetProduct")),
                    Together(&[PRICE, STOCK.optional(), SUGGESTIONS.in_share(0.7)]),
                    Internal("render product", 3.0),
                    One(publish("page-views").in_share(0.15).optional()),
                ],
                log: ("rendered product {product} for user {user} in {ms} ms", 0.2),
                ..http("GET", "/products/{id}", 2.5)
            },
            Operation {
                steps: &[One(call("search", "GET /query")), Internal("render results", 3.5)],
                log: ("search page with {count} results rendered in {ms} ms", 0.2),
                ..http("GET", "/search", 2.5)
            },
        ],
        idle_log: "garbage collection took {ms} ms, heap {count} MiB",
        storm_log: "deprecated template function called from view {count} for user {user}",
    },
    Service {
        name: "accounts",
        language: "java",
        version: [2, 8, 3],
        instances: 2,
        memory_mib: 620,
        operations: &[Operation {
            steps: &[
                One(query("session-cache", "GET", "session", "GET session:?", 0.4)),
                One(query(
                    "accounts-db",
                    "SELECT",
                    "users",
                    "SELECT id, name, locale FROM users WHERE id = $1",
                    1.6,
                )
                .in_share(0.15)),
            ],
            log: ("session of user {user} restored from {ip}", 0.1),
            ..grpc("shop.Accounts", "GetSession", 0.9)
        }],
        idle_log: "expired {count} sessions in {ms} ms",
        storm_log: "token of user {user} has an unknown key id {key}, falling back to introspection",
    },
    Service {
        name: "catalog",
        language: "go",
        version: [4, 1, 7],
        instances: 3,
        memory_mib: 180,
        operations: &[
            Operation {
                steps: &[
                    One(query("catalog-cache", "GET", "product", "GET product:?", 0.3)),
                    One(query(
                        "catalog-db",
                        "SELECT",
                        "products",
                        "SELECT id, title, body FROM products WHERE id = $1",
                        2.2,
                    )
                    .in_share(0.2)),
                ],
                log: ("product {product} served from cache", 0.1),
                ..grpc("shop.Catalog", "GetProduct", 0.7)
            },
            Operation {
                steps: &[One(query(
                    "catalog-db",
                    "SELECT",
                    "products",
                    "SELECT id, title FROM products WHERE category = $1 ORDER BY rank LIMIT 48",
                    5.5,
                ))],
                log: ("listed {count} products of category {count}", 0.1),
                ..grpc("shop.Catalog", "ListProducts", 1.8)
            },
        ],
        idle_log: "cache hit ratio {count} percent over the last minute",
        storm_log: "cache entry {key} is corrupt, evicting and reading product {product} from the database",
    },
    Service {
        name: "search",
        language: "java",
        version: [1, 19, 2],
        instances: 2,
        memory_mib: 900,
        operations: &[Operation {
            steps: &[
                One(query(
                    "search-index",
                    "search",
                    "products",
                    "{\"query\":{\"match\":{\"title\":\"?\"}}}",
                    11.0,
                )),
                One(call("catalog", "shop.Catalog/ListProducts").optional()),
            ],
            log: ("query matched {count} products in {ms} ms", 0.3),
            ..http("GET", "/query", 4.0)
        }],
        idle_log: "refreshed segment {key} with {count} documents",
        storm_log: "shard {count} is slow, retrying query {key} on a replica",
    },
    Service {
        name: "cart",
        language: "dotnet",
        version: [2, 3, 5],
        instances: 2,
        memory_mib: 210,
        operations: &[
            Operation {
                steps: &[One(READ_CART)],
                log: ("cart of user {user} has {count} items", 0.1),
                ..http("GET", "/cart", 0.9)
            },
            Operation {
                steps: &[
                    One(STOCK.tried(2)),
                    One(PRICE),
                    One(READ_CART),
                    One(query("cart-cache", "SET", "cart", "SET cart:? ? EX 86400", 0.5)),
                ],
                log: ("user {user} added {count} of {product} to the cart", 0.5),
                ..http("POST", "/cart/items", 1.4)
            },
        ],
        idle_log: "persisted {count} carts in {ms} ms",
        storm_log: "write conflict on cart {key} of user {user}, retry {count}",
    },
    Service {
        name: "checkout",
        language: "java",
        version: [6, 0, 4],
        instances: 2,
        memory_mib: 740,
        operations: &[Operation {
            steps: &[
                One(call("cart", "GET /cart")),
                Together(&[
                    call("inventory", "shop.Inventory/Reserve").tried(2),
                    call("shipping", "POST /quotes"),
                    PRICE,
                ]),
                One(call("payment", "POST /charges").tried(2)),
                One(query(
                    "orders-db",
                    "INSERT",
                    "orders",
                    "INSERT INTO orders (id, user_id, total) VALUES ($1, $2, $3)",
                    3.2,
                )),
                One(publish("orders")),
            ],
            log: ("order {order} of user {user} placed: {count} items, {amount} EUR", 1.0),
            ..http("POST", "/orders", 6.0)
        }],
        idle_log: "connection pool: {count} idle, {count} in use",
        storm_log: "idempotency key {key} of order {order} seen before, ignoring attempt {count}",
    },
    Service {
        name: "payment",
        language: "java",
        version: [3, 3, 0],
        instances: 2,
        memory_mib: 560,
        operations: &[Operation {
            steps: &[
                One(call("fraud", "POST /scores")),
                One(api("payment-provider", "POST", "/v1/charges").tried(2)),
                One(query(
                    "payments-db",
                    "INSERT",
                    "charges",
                    "INSERT INTO charges (id, order_id, amount) VALUES ($1, $2, $3)",
                    2.8,
                )),
            ],
            error_share: 0.004,
            log: ("charged {amount} EUR for order {order}", 1.0),
            exception: ("PaymentDeclinedException", "card was declined by the issuer"),
            ..http("POST", "/charges", 3.0)
        }],
        idle_log: "settled batch {key} with {count} charges",
        storm_log: "webhook {key} arrived out of order for order {order}, requeueing",
    },
    Service {
        name: "fraud",
        language: "python",
        version: [0, 9, 14],
        instances: 2,
        memory_mib: 480,
        operations: &[Operation {
            steps: &[
                One(query(
                    "feature-store",
                    "find",
                    "profiles",
                    "{\"find\":\"profiles\",\"filter\":{\"user\":\"?\"}}",
                    3.5,
                )),
                Internal("score model", 9.0),
            ],
            log: ("order {order} scored {count} of 100 for user {user} at {ip}", 1.0),
            ..http("POST", "/scores", 2.0)
        }],
        idle_log: "model {key} loaded in {ms} ms",
        storm_log: "feature vector of user {user} misses {count} features, using defaults",
    },
    Service {
        name: "inventory",
        language: "rust",
        version: [1, 6, 2],
        instances: 2,
        memory_mib: 70,
        operations: &[
            Operation {
                steps: &[One(query(
                    "inventory-db",
                    "SELECT",
                    "stock",
                    "SELECT quantity FROM stock WHERE sku = ?",
                    1.3,
                ))],
                ..grpc("shop.Inventory", "GetStock", 0.4)
            },
            Operation {
                steps: &[One(query(
                    "inventory-db",
                    "UPDATE",
                    "stock",
                    "UPDATE stock SET quantity = quantity - ? WHERE sku = ?",
                    3.1,
                ))],
                log: ("reserved {count} of {product} for order {order}", 1.0),
                ..grpc("shop.Inventory", "Reserve", 0.8)
            },
        ],
        idle_log: "synchronised {count} stock levels from depot {count}",
        storm_log: "stock level of {product} is negative ({count}), clamping to zero",
    },
    Service {
        name: "pricing",
        language: "go",
        version: [2, 0, 9],
        instances: 2,
        memory_mib: 60,
        operations: &[Operation {
            steps: &[One(query("catalog-cache", "GET", "price", "GET price:?", 0.3))],
            log: ("price of {product} is {amount} EUR after {count} rules", 0.05),
            ..http("GET", "/prices/{sku}", 0.6)
        }],
        idle_log: "loaded {count} discount rules in {ms} ms",
        storm_log: "discount rule {count} matches nothing for {product}",
    },
    Service {
        name: "recommendation",
        language: "python",
        version: [1, 2, 11],
        instances: 2,
        memory_mib: 650,
        operations: &[Operation {
            steps: &[
                One(query(
                    "feature-store",
                    "find",
                    "neighbours",
                    "{\"find\":\"neighbours\",\"filter\":{\"item\":\"?\"}}",
                    4.0,
                )),
                One(call("catalog", "shop.Catalog/GetProduct").in_share(0.3).optional()),
            ],
            log: ("{count} recommendations for user {user}", 0.1),
            ..http("GET", "/recommendations", 5.0)
        }],
        idle_log: "embedding table {key} refreshed, {count} rows",
        storm_log: "nearest neighbours of {product} fell back to popularity, index {key} is stale",
    },
    Service {
        name: "shipping",
        language: "rust",
        version: [1, 1, 0],
        instances: 2,
        memory_mib: 80,
        operations: &[
            Operation {
                steps: &[One(query(
                    "shipping-db",
                    "SELECT",
                    "tariffs",
                    "SELECT price FROM tariffs WHERE zone = $1 AND weight >= $2",
                    1.9,
                ))],
                log: ("quote for order {order}: {amount} EUR", 0.5),
                ..http("POST", "/quotes", 0.9)
            },
            Operation {
                steps: &[
                    One(api("parcel-carrier", "POST", "/labels").tried(3)),
                    One(query(
                        "shipping-db",
                        "INSERT",
                        "shipments",
                        "INSERT INTO shipments (order_id, label) VALUES ($1, $2)",
                        2.4,
                    )),
                    One(publish("shipments")),
                ],
                log: ("shipment of order {order} labelled {key}", 1.0),
                ..consume("orders", 3.0)
            },
        ],
        idle_log: "tariff table has {count} zones",
        storm_log: "address of order {order} could not be normalised, keeping line {count} as it is",
    },
    Service {
        name: "email",
        language: "ruby",
        version: [0, 7, 3],
        instances: 2,
        memory_mib: 190,
        operations: &[
            Operation {
                steps: &[
                    Internal("render confirmation", 5.0),
                    One(api("mail-provider", "POST", "/send").tried(3)),
                ],
                log: ("confirmation of order {order} sent to user {user}", 1.0),
                ..consume("orders", 4.0)
            },
            Operation {
                steps: &[One(api("mail-provider", "POST", "/send").tried(3))],
                log: ("shipping notice of order {order} sent to user {user}", 1.0),
                ..consume("shipments", 4.0)
            },
        ],
        idle_log: "mail queue has {count} deferred messages",
        storm_log: "mailbox of user {user} is over quota, deferring message {key}",
    },
    Service {
        name: "analytics",
        language: "java",
        version: [8, 2, 1],
        instances: 2,
        memory_mib: 830,
        operations: &[
            Operation {
                steps: &[One(query(
                    "warehouse",
                    "INSERT",
                    "orders",
                    "INSERT INTO orders FORMAT RowBinary",
                    14.0,
                ))],
                ..consume("orders", 2.0)
            },
            Operation {
                steps: &[One(query(
                    "warehouse",
                    "INSERT",
                    "page_views",
                    "INSERT INTO page_views FORMAT RowBinary",
                    9.0,
                ))],
                ..consume("page-views", 1.5)
            },
        ],
        idle_log: "flushed {count} rows to partition {key} in {ms} ms",
        storm_log: "event {key} has schema version {count}, which is newer than expected",
    },
];

const fn entry(method: &'static str, route: &'static str, steps: &'static [super::spec::Step]) -> Operation {
    Operation { steps, log: ("request from {ip} answered in {ms} ms", 0.05), ..http(method, route, 0.8) }
}

const fn http(method: &'static str, route: &'static str, median_ms: f64) -> Operation {
    Operation {
        entry: Http { method, route },
        median_ms,
        spread: 0.4,
        error_share: 0.0005,
        steps: &[],
        log: ("request completed in {ms} ms", 0.05),
        exception: ("IllegalStateException", "unexpected state while handling the request"),
    }
}

const fn grpc(service: &'static str, method: &'static str, median_ms: f64) -> Operation {
    Operation {
        entry: Grpc { service, method },
        exception: ("StatusRuntimeException", "internal error while handling the call"),
        ..http("", "", median_ms)
    }
}

const fn consume(topic: &'static str, median_ms: f64) -> Operation {
    Operation {
        entry: Consume { topic },
        exception: ("MessageHandlingException", "message could not be handled"),
        log: ("message {key} handled in {ms} ms", 0.5),
        ..http("", "", median_ms)
    }
}
