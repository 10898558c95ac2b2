"""Virtual machines of libvirt: their hypervisor plays the BMC."""
