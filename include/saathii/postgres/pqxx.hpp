#pragma once

// The one header that knows which libpqxx: 6.4 (Debian 12) or 7 (Debian 13).

#include <pqxx/pqxx>
#include <string>

namespace saathii::postgres {

#if PQXX_VERSION_MAJOR >= 7

template <typename... Args>
pqxx::result exec_prepared(pqxx::transaction_base& transaction, const char* name,
                           const Args&... args) {
  return transaction.exec(pqxx::prepped{name}, pqxx::params{args...});
}

/// A connection of libpqxx 7 never reconnects.
inline void forbid_reconnecting(pqxx::connection&) {}

/// A failure's first line as an operator should read it.
inline std::string in_plain_words(const std::string& reason) { return reason; }

#else

template <typename... Args>
pqxx::result exec_prepared(pqxx::transaction_base& transaction, const char* name,
                           const Args&... args) {
  return transaction.exec_prepared(name, args...);
}

/// libpqxx 6.4 reconnects silently between transactions otherwise, and loses
/// whatever had been SET and locked.
inline void forbid_reconnecting(pqxx::connection& connection) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  connection.inhibit_reactivation(true);
#pragma GCC diagnostic pop
}

/// A failure's first line as an operator should read it: libpqxx 6.4 stumbles
/// over the encoding of a connection that the server has closed.
inline std::string in_plain_words(const std::string& reason) {
  return reason.starts_with("Could not obtain client encoding") ? "the server closed the connection"
                                                                : reason;
}

#endif

}  // namespace saathii::postgres
