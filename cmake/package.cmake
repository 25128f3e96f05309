# The Debian package, by CPack: scripts/package builds it. What is in it is what
# the install() rules say, nothing is listed here.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME saathiid)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "task daemon of a pay-per-minute calling platform")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"It charges each started minute of every ongoing call exactly once, ends calls
whose caller cannot pay or whose apps have crashed, pays the listeners, keeps
presence true, gives daily badges and removes old logs.
.
It works on the PostgreSQL and Redis of the platform's API.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)  # for what goes to /etc
set(CPACK_STRIP_FILES ON)

# Who builds it is who answers for it, as for every tool that makes packages.
set(contact "saathiid <root@localhost>")
if(DEFINED ENV{DEBEMAIL})
  set(contact "saathiid <$ENV{DEBEMAIL}>")
  if(DEFINED ENV{DEBFULLNAME})
    set(contact "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
  endif()
endif()
set(SAATHII_PACKAGE_CONTACT "${contact}" CACHE STRING "The package's maintainer: NAME <ADDRESS>")
set(CPACK_PACKAGE_CONTACT "${SAATHII_PACKAGE_CONTACT}")

# Built on two releases of Debian it is two packages, and the newer release's
# is the newer: "0.1.0~deb12" < "0.1.0~deb13" < "0.1.0".
set(CPACK_DEBIAN_PACKAGE_VERSION ${PROJECT_VERSION})
if(EXISTS /etc/os-release)
  file(STRINGS /etc/os-release release REGEX "^(ID|VERSION_ID)=")
  if(release MATCHES "(^|;)ID=debian(;|$)" AND release MATCHES "VERSION_ID=\"([0-9]+)\"")
    string(APPEND CPACK_DEBIAN_PACKAGE_VERSION "~deb${CMAKE_MATCH_1}")
  endif()
endif()
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION TRUE)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS
  "systemd | systemd-standalone-sysusers | systemd-sysusers, tzdata")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, dbus, polkitd, postgresql-client")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql, redis-server")

set(scripts ${PROJECT_SOURCE_DIR}/deploy/debian)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${PROJECT_BINARY_DIR}/conffiles  # written by package_files.cmake
  ${scripts}/postinst ${scripts}/prerm ${scripts}/postrm)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/package_files.cmake)
set(CPACK_SAATHII_SOURCE_DIR ${PROJECT_SOURCE_DIR})
set(CPACK_SAATHII_BINARY_DIR ${PROJECT_BINARY_DIR})
include(CPack)
