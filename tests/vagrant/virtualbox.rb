# usage: ruby virtualbox.rb   Prints what the Vagrantfile of this folder gives VirtualBox. It needs no VirtualBox.
require "vagrant"

environment = Vagrant::Environment.new(cwd: Dir.pwd)
environment.machine_names.each do |name|
  config = environment.vagrantfile.machine_config(name, :virtualbox, nil, nil, false)[:config]
  provider = config.vm.get_provider_config(:virtualbox)
  networks = config.vm.networks.reject { |_, options| options[:id] == "ssh" }.map { |kind, options| "#{kind} #{options[:ip]}/#{options[:netmask]}" }
  adapters = provider.network_adapters.sort.map { |number, (kind, *)| "#{number}=#{kind}" }
  puts "#{name}: box #{config.vm.box} #{config.vm.box_version}; host name #{config.vm.hostname}; #{networks.join(', ')}; adapters #{adapters.join(' ')}"
  puts "#{name}: #{provider.customizations.map { |_, command| command.join(' ') }.sort.join('; ')}; linked clone #{provider.linked_clone}"
  puts "#{name}: #{config.vm.provisioners.map { |provisioner| "#{provisioner.name} (#{provisioner.run || 'once'})" }.join(', ')}"
end
