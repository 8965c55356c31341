"""Names that an operating system, a NAS, an editor, a notebook or an archive leaves among the pictures."""

import re

# Compared in lower case.
FOLDERS = {
    "@eadir",  # Synology: thumbnails of every picture
    "#recycle",
    "#snapshot",
    "@recycle",  # QNAP
    "@recently-snapshot",
    "@sharebin",
    "@tmp",
    "@transcode",
    "$recycle.bin",  # Windows
    "recycler",
    "system volume information",
    "found.000",
    "lost+found",  # ext file systems; nobody but root may read it
    "__macosx",
    "__pycache__",
    "network trash folder",
    "temporary items",
    "_gsdata_",  # GoodSync
    "picasaoriginals",
    "resource.frk",
}
FILES = {
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "autorun.inf",
    "icon\r",  # macOS: the icon of a folder
    "picasa.ini",
    "zbthumbnail.info",
    "synofile_thumb.db",
    "folder.htt",
    "pspbrwse.jbf",
    "nohup.out",
}
# Backups and half-written files of editors, office programs, browsers and synchronisers.
PATTERN = re.compile(
    r"\.|~\$|.*~$|#.*#$|.*\.(sw[opx]|bak|orig|rej|old|tmp|temp|part|partial|crdownload|download|lock|lnk|url|pyc)$"
    r"|.*@synoeastream$|.*@synoresource$|.*:zone\.identifier$|.*:afp_\w+$|synophoto_\w+\.jpg$|synoindex_media_info$"
    r"|.*[-. ]sync-?conflict-.*|.* \(conflicted copy.*\).*",
    re.IGNORECASE | re.DOTALL,
)


def is_system_folder(name: str) -> bool:
    """Tell whether a folder is the system's own rather than the competition's."""
    return name.startswith((".", "~")) or name.lower() in FOLDERS


def is_system_file(name: str) -> bool:
    """Tell whether a file is the system's own rather than the competition's."""
    return name.lower() in FILES or bool(PATTERN.match(name))
