# Run by CPack between installing into the package's tree and packing it: what
# Debian's policy asks of a tree that no install() rule can give.

set(root ${CPACK_TEMPORARY_DIRECTORY})
set(doc ${root}/usr/share/doc/${CPACK_PACKAGE_NAME})

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(DEFINED ENV{SOURCE_DATE_EPOCH})
  set(epoch $ENV{SOURCE_DATE_EPOCH})
else()
  string(TIMESTAMP epoch "%s" UTC)
endif()
execute_process(COMMAND date -u -R -d @${epoch} OUTPUT_VARIABLE date
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
file(WRITE ${doc}/changelog
"${CPACK_PACKAGE_NAME} (${CPACK_DEBIAN_PACKAGE_VERSION}) unstable; urgency=medium

  * What has changed is told in ${CPACK_PACKAGE_NAME}'s CHANGELOG.md, beside this file.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
configure_file(${CPACK_SAATHII_SOURCE_DIR}/deploy/debian/copyright ${doc}/copyright COPYONLY)
configure_file(${CPACK_SAATHII_SOURCE_DIR}/deploy/debian/lintian-overrides
  ${root}/usr/share/lintian/overrides/${CPACK_PACKAGE_NAME} COPYONLY)

# Every file of /etc is the operator's: an upgrade asks before it changes one.
file(GLOB_RECURSE configuration RELATIVE ${root} ${root}/etc/*)
list(TRANSFORM configuration PREPEND /)
list(JOIN configuration "\n" conffiles)
file(WRITE ${CPACK_SAATHII_BINARY_DIR}/conffiles "${conffiles}\n")
# A URL in it may hold a password. The group comes with the user, in postinst.
run(chmod 640 ${root}/etc/saathii/saathiid.toml)

file(GLOB_RECURSE compressed ${root}/usr/share/man/* ${doc}/changelog ${doc}/CHANGELOG.md)
run(gzip -9n ${compressed})
run(chmod -R u=rwX,go=rX ${root}/usr)
run(find ${root} -depth -exec touch -h -d @${epoch} {} +)
