// SPDX-License-Identifier: Apache-2.0

import CApus

extension Store {
    static var subnetOptionsName: Words { "virtual subnet" }

    func subnetOptions(_ vsid: UInt32) -> UInt32? {
        tables.subnetOptions.find(SubnetOptions.hash(tables.key, vsid), at: next) {
            tables.subnetOptions[$0].vsid == vsid
        }
    }

    mutating func addSubnetOptions(_ options: SubnetOptions) -> Failure? {
        change(Self.subnetOptionsName) { store in
            if store.subnetOptions(options.vsid) != nil {
                return Failure(
                    APUS_ERR_DUPLICATE, Self.subnetOptionsName, "virtual_subnet_id", .number(options.vsid.u64),
                    "exists already")
            }
            guard store.insert(options, .subnetOptions, store.tables.subnetOptions) != nil else {
                return .memory(Self.subnetOptionsName)
            }
            store.invalidate(scope: store.scope(options.vsid))
            return nil
        }
    }

    mutating func setSubnetOptions(_ options: SubnetOptions) -> Failure? {
        change(Self.subnetOptionsName) { store in
            guard let number = store.subnetOptions(options.vsid) else { return Self.subnetOptionsMissing(options.vsid) }
            guard store.replace(number, with: options, .subnetOptions, store.tables.subnetOptions) != nil else {
                return .memory(Self.subnetOptionsName)
            }
            store.invalidate(scope: store.scope(options.vsid))
            return nil
        }
    }

    mutating func removeSubnetOptions(_ vsid: UInt32) -> Failure? {
        change(Self.subnetOptionsName) { store in
            guard let number = store.subnetOptions(vsid) else { return Self.subnetOptionsMissing(vsid) }
            store.kill(number, .subnetOptions, store.tables.subnetOptions)
            store.invalidate(scope: store.scope(vsid))
            return nil
        }
    }

    static func subnetOptionsMissing(_ vsid: UInt32) -> Failure {
        Failure(
            APUS_ERR_NOT_FOUND, subnetOptionsName, "virtual_subnet_id", .number(vsid.u64), "was not added with apus_virtual_subnet_add()")
    }
}
